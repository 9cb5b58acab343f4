//! Addresses: how an endpoint or a prefix is written, and which ones no packet can be sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::de::DeValue;

use super::{
    section::Complaint,
    types::Prefix,
    value::{Read, string},
};

/// An address and port that packets can be sent to.
pub(super) fn endpoint(value: &DeValue<'_>) -> Read<SocketAddr> {
    let text = string(value, "10.0.1.1:8080")?;
    let Ok(endpoint) = text.parse::<SocketAddr>() else {
        let help = if text.parse::<Ipv4Addr>().is_ok() {
            format!("add the port, such as \"{text}:8080\"")
        } else if let Ok(address) = text.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
            format!("put it in brackets and add the port, such as \"[{address}]:8080\"")
        } else {
            "an address and a port, such as \"10.0.1.1:8080\" or \"[2001:db8::1]:8080\"; names are not \
             looked up"
                .into()
        };
        return Err(Complaint::new(format!("is \"{text}\", which is no address:port"), help));
    };
    if endpoint.port() == 0 {
        return Err(Complaint::new(format!("is {text}, and port 0 is no port"), "a port from 1"));
    }
    let fit = match endpoint {
        SocketAddr::V4(endpoint) => unicast_v4(*endpoint.ip()),
        SocketAddr::V6(endpoint) if endpoint.scope_id() != 0 => {
            Err("an address with a zone, which means something on one host only")
        }
        SocketAddr::V6(endpoint) => unicast_v6(*endpoint.ip()),
    };
    fit.map_err(|what| {
        let help = match endpoint.ip().to_canonical() {
            // The tables hold IPv4 addresses in just that form, and so would take it for one.
            IpAddr::V4(address) if endpoint.is_ipv6() => {
                format!("write \"{}\"", SocketAddr::new(address.into(), endpoint.port()))
            }
            _ => "use an address that one host answers to".to_owned(),
        };
        Complaint::new(format!("is {text}, {what}"), help)
    })?;
    Ok(endpoint)
}

fn unicast_v4(address: Ipv4Addr) -> Result<(), &'static str> {
    if address.is_unspecified() || address.octets()[0] == 0 {
        Err("an unspecified address")
    } else if address.is_loopback() {
        Err("a loopback address, which no packet on a wire has")
    } else if address.is_multicast() {
        Err("a multicast address")
    } else if address.is_broadcast() || address.octets()[0] >= 240 {
        Err("a broadcast or reserved address")
    } else {
        Ok(())
    }
}

fn unicast_v6(address: Ipv6Addr) -> Result<(), &'static str> {
    if address.is_unspecified() {
        Err("an unspecified address")
    } else if address.is_loopback() {
        Err("a loopback address, which no packet on a wire has")
    } else if address.is_multicast() {
        Err("a multicast address")
    } else if address.is_unicast_link_local() {
        Err("a link-local address, which means nothing beyond its link")
    } else if address.to_ipv4_mapped().is_some() {
        Err("an IPv4 address in the form of an IPv6 one")
    } else if address.octets()[0] == 0 {
        Err("a reserved address")
    } else {
        Ok(())
    }
}

/// A prefix such as `10.9.0.0/16`; a bare address stands for itself alone.
pub(super) fn prefix(value: &DeValue<'_>) -> Read<Prefix> {
    let text = string(value, "10.9.0.0/16")?;
    let (address, length) = text.split_once('/').map_or((text, None), |(a, length)| (a, Some(length)));
    let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Some(width), |length| length.parse::<u8>().ok());
        Some((address, length.filter(|&length| length <= width)?, width))
    });
    let Some((address, length, width)) = parsed else {
        return Err(Complaint::new(
            format!("is \"{text}\", which is no prefix"),
            "an address and a length up to 32, or 128 for IPv6, such as \"10.9.0.0/16\"",
        ));
    };
    let first = match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask(length, width) as u32)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask(length, width))),
    };
    if first != address {
        return Err(Complaint::new(
            format!("is {text}, which has bits set behind its length"),
            format!("did you mean \"{first}/{length}\" or \"{address}/{width}\"?"),
        ));
    }
    // In the tables, IPv4 lies in this part of IPv6.
    let v4 = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().to_bits();
    let covers = |v6: Ipv6Addr| v4 & mask(length.min(96), 128) == v6.to_bits() & mask(96, 128);
    if matches!(address, IpAddr::V6(v6) if covers(v6)) {
        return Err(Complaint::new(
            format!("is {text}, which stands for IPv4 addresses too"),
            "write IPv4 prefixes as such, and \"2000::/3\" for every IPv6 address in use",
        ));
    }
    Ok(Prefix { address, length })
}

/// The first `length` of `width` bits.
fn mask(length: u8, width: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    all & all.checked_shl(u32::from(width - length)).unwrap_or(0)
}
