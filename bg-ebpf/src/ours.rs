//! What is ours to look at: frames that are addressed to us, and VIPs.

use bg_common::abi::{INTERFACE_PROBES, Service, other_ports};
use bg_common::service;

use crate::ip::Ip;
use crate::kernel::Kernel;
use crate::packet::Macs;

/// Of the middle word of the hardware addresses, what belongs to the destination.
const END_OF_DESTINATION: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);

/// Whether the frame's destination is the hardware address of the interface that it came in by.
#[inline(always)]
pub(crate) fn addressed<K: Kernel>(kernel: &K, ingress: u32, macs: &Macs) -> bool {
    for probe in 0..INTERFACE_PROBES {
        let Some(interface) = kernel.interface(ingress.wrapping_add(probe)) else {
            return false;
        };
        if interface.index == ingress {
            let [head, middle, _] = macs.fetch();
            let mac = Macs::words(interface.mac, [0; 6]);
            return head == mac[0] && (middle ^ mac[1]) & END_OF_DESTINATION == 0;
        }
        if interface.index == 0 {
            return false;
        }
    }
    false
}

/// Whether the destination is an address of some service.
#[inline(always)]
pub(crate) fn is_vip<I: Ip, K: Kernel>(kernel: &K, ip: &I) -> bool {
    policy(kernel, ip).is_some()
}

/// Whether the destination is a VIP that drops what is sent to its other ports.
#[inline(always)]
pub(crate) fn drops_other_ports<I: Ip, K: Kernel>(kernel: &K, ip: &I) -> bool {
    kernel.node().vip_policy != 0
        && policy(kernel, ip).is_some_and(|policy| policy.other_ports == other_ports::DROP)
}

/// The entry of the VIP as such.
#[inline(always)]
fn policy<'k, I: Ip, K: Kernel>(kernel: &'k K, ip: &I) -> Option<&'k Service> {
    let vip = ip.destination();
    if !I::may_be_listed(&vip) {
        return None;
    }
    service::find(kernel, kernel.node().service_mask, &vip, [0; 2], 0)
}
