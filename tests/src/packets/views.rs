//! Previews and testers in the small world: the first service of both versions of IP has them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use aya::maps::LpmTrie;
use aya::maps::lpm_trie::Key;
use bg_common::abi::{self, Address, tester, views};
use bg_common::ring;

use super::tables::{RING, Tables, UDP, address, key};
use super::world::{BACKENDS, PREVIEW, SERVICES, V6_SERVICE, v6};

/// The number of the preview of IPv4; that of IPv6 follows.
const NUMBER: u16 = SERVICES.len() as u16;

impl Tables {
    /// The preview of the first services: over their backends, to the environment that is not live.
    pub fn preview(&mut self) -> Result<()> {
        for (service, preview, number) in [(0, PREVIEW, NUMBER), (V6_SERVICE, v6(PREVIEW), NUMBER + 1)] {
            let base = self.idle(service, number)?;
            let mut bytes = self.entry("SERVICES", SERVICES[usize::from(service)].0, 16, 19)?;
            bytes[..18].copy_from_slice(&key(preview));
            bytes[20..22].copy_from_slice(&number.to_ne_bytes());
            bytes[24..28].copy_from_slice(&base.to_ne_bytes());
            bytes[39] = views::PINNED;
            let place = self.free_place("SERVICES", preview, bytes[18], 19)?;
            self.put("SERVICES", place, &bytes)?;
            let place = u16::try_from(place + 1)?;
            self.alter_endpoints(service, |id, bytes| {
                bytes[46] |= views::SHARED;
                bytes[52..54].copy_from_slice(&place.to_ne_bytes());
                bytes[54..56].copy_from_slice(&id.to_ne_bytes());
            })?;
        }
        Ok(())
    }

    /// The same over UDP, where [`Tables::serve_udp`] was before.
    pub fn preview_of_udp(&mut self) -> Result<()> {
        self.preview()?;
        for preview in [PREVIEW, v6(PREVIEW)] {
            let mut bytes = self.entry("SERVICES", preview, 16, 19)?;
            bytes[18] = UDP;
            bytes[37] = abi::affinity::FLOW;
            let place = self.free_place("SERVICES", preview, UDP, 19)?;
            self.put("SERVICES", place, &bytes)?;
            let (place, preview) = (u16::try_from(place + 1)?, preview.is_ipv4());
            let service = if preview { 0 } else { V6_SERVICE };
            self.alter_endpoints(service, |_, bytes| {
                if bytes[36] == UDP {
                    bytes[52..54].copy_from_slice(&place.to_ne_bytes());
                }
            })?;
        }
        Ok(())
    }

    /// What `TESTERS` says of a prefix, for deployment 0; the first services ask it from now on.
    pub fn testers(&mut self, prefix: IpAddr, length: u32, what: u8) -> Result<()> {
        let mapped = if prefix.is_ipv4() { 96 } else { 0 };
        let key = Key::new(16 + mapped + length, tester::key(0, &Address(address(prefix))));
        let mut map: LpmTrie<_, [u8; tester::KEY], u8> = self.map("TESTERS")?.try_into()?;
        map.insert(&key, what, 0).context("write TESTERS")?;
        for (service, number) in [(0, NUMBER), (V6_SERVICE, NUMBER + 1)] {
            let base = self.idle(service, number)?;
            let at = SERVICES[usize::from(service)].0;
            self.alter("SERVICES", at, 16, 19, |bytes| {
                bytes[39] |= views::TESTERS;
                bytes[60..64].copy_from_slice(&base.to_ne_bytes());
            })?;
            self.alter_endpoints(service, |_, bytes| bytes[46] |= views::TESTERS)?;
        }
        Ok(())
    }

    /// Rings to the environment that is not live, at the place of a service of this number. Returns their first
    /// element.
    fn idle(&mut self, service: u16, number: u16) -> Result<u32> {
        for (id, backend) in (0..).zip(BACKENDS).filter(|(_, backend)| backend.service == service) {
            self.ring(number, 1 - backend.environment, Some(id))?;
        }
        self.ring(number, 2, None)?;
        Ok(u32::from(number) * 3 * ring::elements(RING))
    }

    /// Changes the entries of a service's endpoints, of both protocols.
    fn alter_endpoints(&mut self, service: u16, change: impl Fn(u16, &mut [u8])) -> Result<()> {
        for (id, backend) in (0..).zip(BACKENDS).filter(|(_, backend)| backend.service == service) {
            self.alter("ENDPOINTS", backend.address, 32, 37, |bytes| change(id, bytes))?;
        }
        Ok(())
    }

    /// Changes the entry of an address.
    fn alter(
        &mut self,
        name: &str,
        at: SocketAddr,
        port: usize,
        state: usize,
        change: impl Fn(&mut [u8]),
    ) -> Result<()> {
        let wanted = key(at);
        for place in super::tables::places(at, 6).chain(super::tables::places(at, UDP)) {
            let mut bytes = self.line(name, place)?;
            if bytes[..16] == wanted[..16]
                && bytes[port..port + 2] == wanted[16..]
                && bytes[state] == abi::entry::USED
            {
                change(&mut bytes);
                self.put(name, place, &bytes)?;
            }
        }
        Ok(())
    }
}
