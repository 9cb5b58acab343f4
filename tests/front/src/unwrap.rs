//! A backend of mode ipip, for kernels without tunnels: takes the outer packet off.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use bg_ebpf::packet::Frame;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// IP protocol numbers of what is inside.
const WITHIN_V4: u8 = 4;
const WITHIN_V6: u8 = 41;

/// Unwraps a packet that is within another one. `None`: it is not, or the kernel lends no room.
#[inline(always)]
pub(crate) fn unwrap(context: &XdpContext) -> Option<()> {
    // SAFETY: the kernel lends the bytes between the two to this run, which looks at them by this frame alone.
    let mut frame = unsafe { Frame::new(context.data(), context.data_end()) };
    let mut ethernet = *frame.take::<[u8; 14]>()?;
    let (outer, within) = match [ethernet[12], ethernet[13]] {
        IPV4 => {
            let header = frame.take::<[u8; 20]>()?;
            // Options are nothing that the program under test would write.
            (20, if header[0] == 0x45 { header[9] } else { 0 })
        }
        IPV6 => (40, frame.take::<[u8; 40]>()?[6]),
        _ => return None,
    };
    [ethernet[12], ethernet[13]] = match within {
        WITHIN_V4 => IPV4,
        WITHIN_V6 => IPV6,
        _ => return None,
    };
    // SAFETY: the context is the one that the program was called with; no pointer into the packet is used any more.
    if unsafe { bpf_xdp_adjust_head(context.as_ptr().cast(), outer) } != 0 {
        return None;
    }
    // SAFETY: as above, of the bytes that there are now.
    let mut frame = unsafe { Frame::new(context.data(), context.data_end()) };
    *frame.take::<[u8; 14]>()? = ethernet;
    Some(())
}
