//! A packet in several fragments, as its sender or a router makes them.

use std::net::SocketAddr;

use super::bytes::{checksum, link};
use super::{MF, Segment};

const FRAGMENT: u8 = 44;

impl Segment {
    /// The frames that carry the segment cut at these places, in bytes behind the IP header and all extension
    /// headers, the first one first. Over IPv6 its `id` is theirs.
    ///
    /// # Panics
    /// When a cut is beyond the end.
    pub fn split(&self, cuts: &[usize]) -> Vec<Vec<u8>> {
        let whole = self.ip_bytes();
        let front = match self.destination {
            SocketAddr::V4(_) => 20 + self.ip_options.len(),
            SocketAddr::V6(_) => 40 + self.extensions.iter().map(|header| header.1.len()).sum::<usize>(),
        };
        let (header, data) = whole.split_at(front);
        let ends = cuts.iter().copied().chain([data.len()]);
        let mut start = 0;
        ends.map(|end| {
            let frame = self.fragment_frame(header, start, &data[start..end], end < data.len());
            start = end;
            frame
        })
        .collect()
    }

    /// One of them: what begins at `start`, wherever that is.
    pub fn fragment_frame(&self, header: &[u8], start: usize, data: &[u8], more: bool) -> Vec<u8> {
        let mut frame = link(self.to, self.from, &self.tags, self.destination.ip());
        let mut header = header.to_vec();
        let offset = (start / 8) as u16;
        match self.destination {
            SocketAddr::V4(_) => {
                let total = (header.len() + data.len()) as u16;
                header[2..4].copy_from_slice(&total.to_be_bytes());
                let flags = self.fragment & !MF | offset | if more { MF } else { 0 };
                header[6..8].copy_from_slice(&flags.to_be_bytes());
                header[10..12].fill(0);
                let sum = checksum(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            SocketAddr::V6(_) => {
                let length = (header.len() - 40 + 8 + data.len()) as u16;
                header[4..6].copy_from_slice(&length.to_be_bytes());
                // Behind all others; where the last of them names the protocol, it names this one.
                let mut at = 6;
                let mut next = 40;
                for extension in &self.extensions {
                    at = next;
                    next += extension.1.len();
                }
                let protocol = std::mem::replace(&mut header[at], FRAGMENT);
                header.extend([protocol, 0]);
                header.extend((offset << 3 | u16::from(more)).to_be_bytes());
                header.extend(u32::from(self.id).to_be_bytes());
            }
        }
        frame.extend(header);
        frame.extend(data);
        frame.extend(&self.padding);
        frame
    }

    /// The IP header with all extension headers, as [`Segment::fragment_frame`] takes it.
    pub fn front(&self) -> Vec<u8> {
        let mut whole = self.ip_bytes();
        let (_, inner) = self.inner();
        whole.truncate(whole.len() - inner.len());
        whole
    }
}
