//! How a case is bent out of shape: bits, cuts and splices anywhere, and in the fields that the path reads the
//! values at which it changes its mind.

use bg_fuzz::{Act, LONGEST, Step};

use crate::twin::Random;

/// Where a field is, counted from its header's start, and how many bytes it has.
type Field = (usize, usize);

/// Of IPv4: version, type of service, length, identification, flags and offset, TTL, protocol, checksum, addresses.
const V4: [Field; 10] = [(0, 1), (1, 1), (2, 2), (4, 2), (6, 2), (8, 1), (9, 1), (10, 2), (12, 4), (16, 4)];
/// Of IPv6: version and class, length, next header, hop limit, addresses.
const V6: [Field; 6] = [(0, 2), (4, 2), (6, 1), (7, 1), (8, 16), (24, 16)];
/// Of what follows: ports, lengths, flags, checksums, type and code of a message, and the lengths of extension
/// headers.
const AFTER: [Field; 11] =
    [(0, 2), (2, 2), (4, 2), (6, 2), (12, 1), (13, 1), (16, 2), (0, 1), (1, 1), (2, 1), (3, 1)];
/// Numbers on both sides of something.
const BYTES: [u8; 22] =
    [0, 1, 2, 4, 6, 17, 43, 44, 58, 60, 63, 64, 127, 128, 255, 0x44, 0x45, 0x46, 0x4f, 0x50, 0x5f, 0x60];
const WORDS: [u16; 24] = [
    0, 1, 7, 8, 19, 20, 21, 28, 39, 40, 60, 68, 80, 443, 1280, 1281, 1500, 1501, 8080, 8081, 0x1fff, 0x2000,
    0x4000, 0xffff,
];
/// Addresses that mean something here: of the VIPs, backends, clients, the node; and none at all.
const ADDRESSES: [[u8; 4]; 16] = [
    [203, 0, 113, 10],
    [203, 0, 113, 11],
    [203, 0, 113, 13],
    [203, 0, 113, 20],
    [203, 0, 113, 30],
    [10, 0, 1, 1],
    [10, 0, 2, 1],
    [10, 0, 0, 1],
    [10, 3, 0, 7],
    [192, 0, 2, 7],
    [192, 0, 2, 90],
    [198, 51, 100, 193],
    [100, 64, 9, 9],
    [127, 0, 0, 1],
    [224, 0, 0, 1],
    [0, 0, 0, 0],
];

/// A case, bent; sometimes with steps of another one between its own.
pub fn mutated(steps: &[Step], other: &[Step], random: &mut Random) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for _ in 0..random.weighted(&[(50, 1), (30, 2), (15, 4), (5, 8)]) {
        let at = random.below(steps.len() as u32) as usize;
        match random.below(100) {
            0..70 => packet(&mut steps, at, other, random),
            70..80 => steps.insert(at, Step::Act(act(random))),
            80..88 => steps.insert(at, steps[at].clone()),
            88..94 => steps.insert(at, random_of(other, random)),
            94..97 => steps.insert(at + 1, Step::Again { at: random.below(100) as u16, bits: random.byte() }),
            _ if steps.len() > 1 => drop(steps.remove(at)),
            _ => (),
        }
    }
    steps.truncate(40);
    steps
}

fn random_of(steps: &[Step], random: &mut Random) -> Step {
    steps[random.below(steps.len() as u32) as usize].clone()
}

fn act(random: &mut Random) -> Act {
    let deployment = random.below(2) as u8;
    match random.below(10) {
        0..5 => Act::Switch {
            deployment,
            phase: random.below(4) as u8,
            base: random.below(2) as u8,
            current: random.below(2) as u8,
        },
        5 => Act::Word { deployment, word: random.next() },
        6 => Act::Dead(random.below(48) as u8),
        7 => Act::NoPins,
        8 => Act::Routes,
        _ => Act::Rotate(deployment),
    }
}

/// Bends one packet.
fn packet(steps: &mut [Step], at: usize, other: &[Step], random: &mut Random) {
    let spliced = random_of(other, random);
    let Step::Packet { device, mend, bytes } = &mut steps[at] else { return };
    *mend = random.permille(700);
    if bytes.is_empty() {
        return;
    }
    let any = random.below(bytes.len() as u32) as usize;
    match random.below(100) {
        0..55 => field(bytes, random),
        55..67 => bytes[any] ^= 1 << random.below(8),
        67..75 => bytes[any] = random.pick(&BYTES),
        75..84 => bytes.truncate(any),
        84..88 => bytes.extend(random.words(1, 12)),
        88..92 => {
            let words = random.words(1, 5);
            bytes.splice(any..any, words);
        }
        92..95 => drop(bytes.drain(any..(any + 4).min(bytes.len()))),
        95..98 => {
            if let Step::Packet { bytes: tail, .. } = &spliced {
                bytes.truncate(any);
                bytes.extend(tail.get(any..).unwrap_or_default());
            }
        }
        _ => *device = random.below(3) as u8,
    }
    bytes.truncate(LONGEST);
}

/// Puts a value into a field: mostly one at which something changes.
fn field(bytes: &mut [u8], random: &mut Random) {
    // The link's, now and then: hardware addresses and protocol.
    if random.permille(80) {
        put(bytes, random.pick(&[(0, 2), (4, 2), (12, 2), (16, 2)]), random);
        return;
    }
    let tags =
        [12, 16].iter().take_while(|&&at| matches!(bytes.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8])));
    let mut ip = 14 + 4 * tags.count();
    // Of a quoted packet, now and then: behind the headers of an error.
    let v6 = bytes.get(ip).is_some_and(|first| first >> 4 == 6);
    let protocol = bytes.get(ip + if v6 { 6 } else { 9 });
    if matches!(protocol, Some(1 | 58)) && random.permille(500) {
        ip += if v6 { 48 } else { 28 };
    }
    let header = if v6 { 40 } else { 20 };
    let fields = if v6 { &V6[..] } else { &V4[..] };
    if random.permille(550) {
        let (at, length) = random.pick(fields);
        put(bytes, (ip + at, length), random);
    } else {
        let (at, length) = random.pick(&AFTER);
        put(bytes, (ip + header + at, length), random);
    }
}

fn put(bytes: &mut [u8], (at, length): Field, random: &mut Random) {
    let whole = bytes.len() as u16;
    let Some(field) = bytes.get_mut(at..at + length) else { return };
    match field {
        [byte] => *byte = if random.permille(800) { random.pick(&BYTES) } else { random.byte() },
        [_, _] => {
            let near =
                whole.wrapping_sub(14 + 20 * random.below(3) as u16).wrapping_add(random.below(5) as u16);
            let value = if random.permille(300) { near } else { random.pick(&WORDS) };
            field.copy_from_slice(&value.to_be_bytes());
        }
        [_, _, _, _] => field.copy_from_slice(&random.pick(&ADDRESSES)),
        _ => {
            let [a, b, c, d] = random.pick(&ADDRESSES);
            let first =
                random.pick(&[[0x20, 1, 0xd, 0xb8], [0x20, 1, 0xd, 0xb8], [0; 4], [0xfe, 0x80, 0, 0]]);
            let address = [&first[..], &[a, b, 0, 0, 0, 0, 0, 0, 0, 0, c, d]].concat();
            field.copy_from_slice(&address);
        }
    }
}
