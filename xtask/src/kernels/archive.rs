//! The file system that a kernel begins with: a cpio archive of the "new ASCII" form
//! (`Documentation/driver-api/early-userspace/buffer-format.rst` of Linux).

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// An archive in the making.
#[derive(Clone, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: Vec<String>,
}

impl Archive {
    /// A folder, and those above it.
    pub(super) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.iter().any(|folder| folder == path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.folders.push(path.to_owned());
        self.entry(path, FOLDER, (0, 0), &[]);
    }

    /// A file that may be run.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.within_folder(path, FILE, (0, 0), content);
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.within_folder(path, LINK, (0, 0), to.as_bytes());
    }

    /// A character device.
    pub(super) fn device(&mut self, path: &str, number: (u32, u32)) {
        self.within_folder(path, DEVICE, number, &[]);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn within_folder(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entry(path, mode, device, content);
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.bytes.extend(b"070701");
        let fields =
            [0, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, path.len() as u32 + 1, 0];
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Names and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every entry as path, mode and content.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |number: usize| {
                let start = at + 6 + number * 8;
                let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (name, size) = (field(11) as usize, field(6) as usize);
            let path = String::from_utf8(bytes[at + 110..at + 110 + name - 1].to_vec()).unwrap();
            let content = (at + 110 + name).next_multiple_of(4);
            found.push((path, field(1), bytes[content..content + size].to_vec()));
            at = (content + size).next_multiple_of(4);
        }
        found
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_once() {
        let mut archive = Archive::default();
        archive.file("/usr/sbin/ip", b"program");
        archive.link("/usr/sbin/other", "ip");
        archive.folder("/usr");
        let found = entries(&archive.finish());
        let paths: Vec<_> = found.iter().map(|(path, mode, _)| (path.as_str(), *mode)).collect();
        let wanted = [
            ("usr", FOLDER),
            ("usr/sbin", FOLDER),
            ("usr/sbin/ip", FILE),
            ("usr/sbin/other", LINK),
            ("TRAILER!!!", 0),
        ];
        assert_eq!(paths, wanted);
        assert_eq!(found[2].2, b"program");
        assert_eq!(found[3].2, b"ip");
    }
}
