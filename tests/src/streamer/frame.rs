//! The protocol: a banner line, then blocks. A block is a 4-byte big-endian length and as many
//! bytes. The client's bytes come from a seeded generator; the server answers with its own name and
//! each byte turned, so neither side can be right by accident.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// No block is longer; a longer length means that the stream is damaged.
pub const LONGEST: usize = 64 * 1024;

/// What the server says of itself when a connection opens: `environment version name number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// `blue` or `green`.
    pub environment: String,
    /// The release that the server pretends to be.
    pub version: String,
    /// The server's own name.
    pub name: String,
    /// How many connections the server had accepted when it accepted this one.
    pub number: u64,
}

impl Banner {
    /// The line, with its end.
    pub fn line(&self) -> String {
        let Self { environment, version, name, number } = self;
        format!("{environment} {version} {name} {number}\n")
    }

    /// Reads the line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end().split(' ').map(str::to_owned);
        Some(Self {
            environment: words.next()?,
            version: words.next()?,
            name: words.next()?,
            number: words.next()?.parse().ok()?,
        })
    }
}

/// The bytes that a client sends as its `number`th block; a connection is told by its seed.
pub fn block(seed: u64, number: u64) -> Vec<u8> {
    let mut state = mix(seed ^ mix(number));
    let length = 32 + usize::try_from(state % 480).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = mix(state);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What the server called `name` answers to `bytes`: its name, a line's end, each byte turned.
pub fn answer(name: &str, bytes: &[u8]) -> Vec<u8> {
    let turned = bytes.iter().map(|byte| byte.rotate_left(3) ^ 0xa5);
    name.bytes().chain([b'\n']).chain(turned).collect()
}

/// A block as it travels: length first.
pub fn framed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

/// Reads one block; `None` when the other side closed at a block's border.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0_u8; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST {
        let message = format!("a block of {length} bytes: the stream is damaged");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

/// The finalizer of splitmix64: a generator that is good enough to make every byte unforeseeable to
/// whoever does not know the seed.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_survive_the_wire() {
        let banner =
            Banner { environment: "blue".into(), version: "v1".into(), name: "blue-1".into(), number: 7 };
        assert_eq!(Banner::parse(&banner.line()), Some(banner));
        assert_eq!(Banner::parse("HTTP/1.1 400 Bad\n"), None);
    }

    #[test]
    fn blocks_differ_by_seed_and_number_and_answers_by_name() {
        assert_eq!(block(1, 2), block(1, 2));
        assert_ne!(block(1, 2), block(1, 3));
        assert_ne!(block(1, 2), block(2, 2));
        assert_ne!(answer("a", b"x"), answer("b", b"x"));
    }
}
