//! One packet after the other over plain memory, and what each of them may rely on.

use std::sync::atomic::Ordering::SeqCst;

use bg_common::abi::{Counter, REASON_COUNTERS};
use bg_common::reason::{Reason, Verdict};
use bg_ebpf::host::Host;
use bg_ebpf::verdict::Action;

use crate::buffer::Guarded;
use crate::case::{LONGEST, Step};
use crate::direct;
use crate::sums::{self, Sum, Sums};
use crate::world::{DEVICES, mac};

const TCP: u8 = 6;
const RST: u8 = 4;

/// A node, and a judge beside it.
#[derive(Debug)]
pub struct Judge {
    /// The node.
    pub host: Host,
    last: (u8, Vec<u8>),
}

/// A packet that arrived, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Index of the device.
    pub interface: u32,
    /// The frame as it came.
    pub came: Vec<u8>,
    /// The frame as it is now.
    pub is: Vec<u8>,
    /// What is done with it.
    pub action: Action,
    /// How it was counted: each counter of a reason that moved, and by how much.
    pub counted: Vec<(Reason, Counter)>,
}

impl Judge {
    /// Begins with this node.
    #[must_use]
    pub fn new(host: Host) -> Self {
        // The path keeps the questions that it asks, for tests that look at them.
        host.queries.borrow_mut().clear();
        Self { host, last: (0, Vec::new()) }
    }

    /// Takes a step. A packet's arrival is returned.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn take(&mut self, step: &Step) -> Option<Arrival> {
        match step {
            Step::Act(act) => act.apply(&mut self.host.tables),
            Step::Wait(ticks) => {
                self.host.tables.nanoseconds.fetch_add(u64::from(*ticks) << 26, SeqCst);
                self.host.jiffies.set(self.host.jiffies.get().wrapping_add(u32::from(*ticks) * 16));
            }
            Step::Packet { .. } | Step::Again { .. } => {
                let (device, frame) = self.frame(step)?;
                return Some(self.arrive(DEVICES[usize::from(device)], &frame));
            }
        }
        None
    }

    /// The frame that a step lets arrive, and on which device.
    pub fn frame(&mut self, step: &Step) -> Option<(u8, Vec<u8>)> {
        match step {
            Step::Packet { device, mend, bytes } => {
                self.last = (device % 3, bytes.clone());
                if *mend {
                    sums::mend(&mut self.last.1);
                }
            }
            Step::Again { at, bits } => {
                if let Some(byte) = self.last.1.get_mut(usize::from(*at)) {
                    *byte ^= bits;
                }
            }
            Step::Act(_) | Step::Wait(_) => return None,
        }
        self.last.1.truncate(LONGEST);
        Some(self.last.clone())
    }

    fn arrive(&self, interface: u32, frame: &[u8]) -> Arrival {
        let counters = || (0..REASON_COUNTERS).map(|index| self.host.counters[index as usize].get());
        let before: Vec<Counter> = counters().collect();
        let mut packet = Guarded::new(frame, interface);
        let action = self.host.receive(&mut packet);
        let counted = Reason::ALL.iter().zip(Reason::ALL.iter().map(|&reason| self.host.counted(reason)));
        let counted = counted.filter_map(|(&reason, now)| {
            let was = before[reason as usize];
            let more = Counter {
                packets: now.packets - was.packets,
                bytes: now.bytes - was.bytes,
                connections: now.connections - was.connections,
                overflow: now.overflow - was.overflow,
            };
            (now != was).then_some((reason, more))
        });
        let arrival = Arrival {
            interface,
            came: frame.to_vec(),
            is: packet.bytes().to_vec(),
            action,
            counted: counted.collect(),
        };
        if let Err(rule) = judged(&arrival) {
            panic!("{rule}: {arrival:02x?}");
        }
        let locked = self.host.tables.locks.iter().position(|lock| lock.load(SeqCst) != 0);
        assert_eq!(locked, None, "a lock of the pins is held after {arrival:02x?}");
        arrival
    }
}

/// Holds a packet's end against the rules that every packet can rely on.
///
/// # Errors
/// The rule that is broken.
pub fn judged(arrival: &Arrival) -> Result<Reason, &'static str> {
    let Arrival { interface, came, is, action, counted } = arrival;
    let &[(reason, count)] = &counted[..] else { return Err("not counted once, under one reason") };
    if (count.packets, count.bytes) != (1, came.len() as u64) {
        return Err("counted as another packet than it was");
    }
    let out = match (reason.verdict(), action) {
        (Verdict::Drop, Action::Drop) => return direct::ends(reason, came).map(|()| reason),
        (Verdict::Pass, Action::Pass) => None,
        (Verdict::Send, Action::Transmit) => Some(interface),
        (Verdict::Send, Action::Redirect(out)) if out != interface => Some(out),
        _ => return Err("not the verdict of its reason"),
    };
    if out.is_none() && !rewritten(reason) {
        return if came == is { Ok(reason) } else { Err("changed, though it is left alone") };
    }
    if let Some(out) = out {
        let device = DEVICES.iter().position(|index| index == out).ok_or("sent by a device that is none")?;
        if is.get(6..12) != Some(&mac(device)[..]) {
            return Err("sent with another hardware address than the device's");
        }
    }
    if matches!(reason, Reason::TimeExceeded | Reason::FragmentationNeeded | Reason::Refused | Reason::NoPin)
    {
        return answer(came, is).map(|()| reason);
    }
    if let Some(direct) = direct::to_vip(came)
        && reason != Reason::Echoed
    {
        return direct.sent(reason, out.copied(), is).map(|()| reason);
    }
    if reason == Reason::Encapsulated {
        return Err("within another packet, though not to a service of mode ipip");
    }
    let reply = matches!(reason, Reason::Returned | Reason::ReturnedByKernel | Reason::ErrorReturned);
    if reply && direct::from_vip(is) {
        return Err("a reply from a VIP whose backends answer clients themselves");
    }
    if came.len() != is.len() {
        return Err("longer or shorter than it came");
    }
    if came[12..14] != is[12..14] {
        return Err("of another protocol than it came");
    }
    kept(sums::sums(came), sums::sums(is)).map(|()| reason)
}

/// Whether such packets, though passed on, are not as they came.
const fn rewritten(reason: Reason) -> bool {
    matches!(reason, Reason::ForwardedByKernel | Reason::ReturnedByKernel)
}

/// What was right is right, what was wrong is wrong, and what was not there is not there: a checksum is not the
/// program's to repair.
fn kept(came: Sums, is: Sums) -> Result<(), &'static str> {
    if came == is { Ok(()) } else { Err("a checksum that was right is wrong, or the other way round") }
}

/// An answer to the client: it goes back to whom the packet came from, and is right in all of its checksums.
fn answer(came: &[u8], is: &[u8]) -> Result<(), &'static str> {
    let tags = [12, 16].iter().take_while(|&&at| matches!(came[at..at + 2], [0x81, 0] | [0x88, 0xa8]));
    let link = 14 + 4 * tags.count();
    if came[..6] != is[6..12] || came[6..12] != is[..6] || came.get(12..link) != is.get(12..link) {
        return Err("an answer to somebody else");
    }
    let v4 = is[link - 2..link] == [8, 0];
    let header = if v4 { 20 } else { 40 };
    let [sum, message, ..] = sums::sums(is);
    if message != Sum::Right || v4 && sum != Sum::Right {
        return Err("an answer with a wrong checksum");
    }
    if is.get(link + if v4 { 9 } else { 6 }) == Some(&TCP) {
        return reset(&is[link + header..]);
    }
    too_large(&came[link..], &is[link..], v4, header)?;
    quote(&came[link..], &is[link..], v4, header + 8)
}

/// What says that a packet is too large names less than that has.
fn too_large(came: &[u8], is: &[u8], v4: bool, header: usize) -> Result<(), &'static str> {
    let kind = if v4 { [3, 4] } else { [2, 0] };
    if is[header..header + 2] != kind {
        return Ok(());
    }
    let word = |bytes: &[u8], at: usize| u32::from(bytes[at]) << 8 | u32::from(bytes[at + 1]);
    let total = if v4 { word(came, 2) } else { 40 + word(came, 4) };
    let told = word(is, header + 6);
    if (1..total).contains(&told) { Ok(()) } else { Err("an answer that names what the packet would fit") }
}

/// A segment with RST and without data, options or padding.
fn reset(segment: &[u8]) -> Result<(), &'static str> {
    if segment.len() == 20 && segment[12] == 0x50 && segment[13] & RST != 0 {
        Ok(())
    } else {
        Err("an answer that is a segment and no bare RST")
    }
}

/// An ICMP message no longer than such messages are, which quotes what came behind so many bytes. IPv4: 20 to 60
/// bytes of the packet's header and 8 more (RFC 792). IPv6: the least MTU (RFC 4443, 2.4).
fn quote(came: &[u8], is: &[u8], v4: bool, front: usize) -> Result<(), &'static str> {
    let longest = if v4 { front + 68 } else { 1280 };
    if !(front..=longest).contains(&is.len()) {
        return Err("an answer that is too long or too short");
    }
    if came.starts_with(&is[front..]) { Ok(()) } else { Err("an answer that quotes another packet") }
}
