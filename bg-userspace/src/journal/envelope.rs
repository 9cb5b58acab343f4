//! The form of the file, as plain bytes: one line that says what follows, how long it is and its digest,
//! then that. Bytes that were not written by [`wrap`] are refused, whatever they are.

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The newest version that is known.
pub(super) const VERSION: u64 = 1;
/// The first line is shorter than this.
const LONGEST_LINE: usize = 4096;
/// What the first line calls it.
const FORMAT: &str = "bluegreen journal";

/// Why bytes are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Foreign,
    Newer(u64),
    Truncated(Cut),
    Damaged(&'static str),
}

/// Where a file ends too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    InFirstLine,
    Later { wanted: u64, found: u64 },
}

/// The first line of version 1. A later version may say more; it keeps `format` and `version`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u64,
    bytes: u64,
    sha256: Digest,
}

#[derive(Deserialize)]
struct AnyHeader {
    format: String,
    version: u64,
}

/// Puts the first line before a body.
pub(super) fn wrap(body: &[u8]) -> Vec<u8> {
    let mut whole = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        bytes: body.len() as u64,
        sha256: Digest::of(body),
    }
    .line()
    .into_bytes();
    whole.extend_from_slice(body);
    whole
}

/// The body of a file.
pub(super) fn unwrap(whole: &[u8]) -> Result<&[u8], Flaw> {
    let start = &whole[..whole.len().min(LONGEST_LINE)];
    let Some(end) = start.iter().position(|&byte| byte == b'\n') else {
        let begun = FORMAT_START.starts_with(start) || start.starts_with(FORMAT_START);
        let ours = begun && whole.len() < LONGEST_LINE;
        return Err(if ours { Flaw::Truncated(Cut::InFirstLine) } else { Flaw::Foreign });
    };
    let (line, body) = whole.split_at(end + 1);
    let any: AnyHeader = serde_json::from_slice(line).map_err(|_unreadable| Flaw::Foreign)?;
    if any.format != FORMAT {
        return Err(Flaw::Foreign);
    }
    if any.version > VERSION {
        return Err(Flaw::Newer(any.version));
    }
    let header: Header = serde_json::from_slice(line)
        .map_err(|_unreadable| Flaw::Damaged("its first line is not as written"))?;
    // The line has no digest of its own, so it must be the very one that is written.
    if header.version != VERSION || header.line().as_bytes() != line {
        return Err(Flaw::Damaged("its first line is not as written"));
    }
    let found = body.len() as u64;
    match header.bytes {
        wanted if found < wanted => Err(Flaw::Truncated(Cut::Later {
            wanted: wanted.saturating_add(line.len() as u64),
            found: whole.len() as u64,
        })),
        wanted if found > wanted => Err(Flaw::Damaged("there is more in it than was written")),
        _ if Digest::of(body) != header.sha256 => Err(Flaw::Damaged("its digest is another")),
        _ => Ok(body),
    }
}

/// How every first line begins.
const FORMAT_START: &[u8] = b"{\"format\":\"bluegreen journal\",";

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InFirstLine => write!(f, "its first line does not end"),
            Self::Later { wanted, found } => write!(f, "{found} of {wanted} bytes are there"),
        }
    }
}

impl Header {
    fn line(&self) -> String {
        let Self { format, version, bytes, sha256 } = self;
        format!(
            "{{\"format\":\"{format}\",\"version\":{version},\"bytes\":{bytes},\"sha256\":\"{sha256}\"}}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_line_is_as_documented() {
        let whole = wrap(b"{}\n");
        let line = "{\"format\":\"bluegreen journal\",\"version\":1,\"bytes\":3,\"sha256\":\
                    \"ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356\"}\n{}\n";
        assert_eq!(String::from_utf8(whole).unwrap(), line);
        assert!(wrap(b"").starts_with(FORMAT_START));
    }

    #[test]
    fn a_later_version_is_told_from_damage_even_if_it_says_more() {
        let newer = b"{\"format\":\"bluegreen journal\",\"version\":7,\"cipher\":\"none\"}\nanything";
        assert_eq!(unwrap(newer), Err(Flaw::Newer(7)));
        let older = String::from_utf8(wrap(b"x")).unwrap().replace("\"version\":1", "\"version\":0");
        assert!(matches!(unwrap(older.as_bytes()), Err(Flaw::Damaged(_))));
    }

    #[test]
    fn other_files_are_foreign() {
        let lists = [
            &b"[node]\ninterfaces = []\n"[..],
            b"{\"format\":\"other\",\"version\":1}\n{}",
            b"{}\n",
            b"\n",
            &[0xff; 9000],
        ];
        for bytes in lists {
            assert_eq!(unwrap(bytes), Err(Flaw::Foreign), "{bytes:?}");
        }
    }

    #[test]
    fn an_empty_file_is_truncated() {
        assert_eq!(unwrap(b""), Err(Flaw::Truncated(Cut::InFirstLine)));
    }

    proptest! {
        #[test]
        fn what_was_wrapped_is_unwrapped(body: Vec<u8>) {
            let whole = wrap(&body);
            prop_assert_eq!(unwrap(&whole), Ok(&body[..]));
        }

        #[test]
        fn every_prefix_is_refused_as_truncated(body: Vec<u8>, cut: prop::sample::Index) {
            let whole = wrap(&body);
            let prefix = &whole[..cut.index(whole.len())];
            prop_assert!(matches!(unwrap(prefix), Err(Flaw::Truncated(_))), "{:?}", unwrap(prefix));
        }

        #[test]
        fn every_other_byte_is_refused(body: Vec<u8>, at: prop::sample::Index, flip in 1..=255_u8) {
            let mut whole = wrap(&body);
            let at = at.index(whole.len());
            whole[at] ^= flip;
            prop_assert!(unwrap(&whole).is_err());
        }

        #[test]
        fn bytes_at_the_end_are_refused(body: Vec<u8>, more in prop::collection::vec(any::<u8>(), 1..9)) {
            prop_assert!(unwrap(&[wrap(&body), more].concat()).is_err());
        }

        #[test]
        fn any_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(unwrap(&bytes).is_err());
            prop_assert!(unwrap(&[FORMAT_START, &bytes].concat()).is_err());
        }
    }
}
