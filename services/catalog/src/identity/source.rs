//! Where a call comes from, as failed logins are counted by it. Invariant: a header is believed only as
//! far as addresses that the operator named have written it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tonic::Request;

/// The header in which each proxy adds, at the end, the address that it was called from.
const HEADER: &str = "x-forwarded-for";

/// The proxies whose word is taken for where a call comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Proxies {
    /// The source of a call: an IPv4 address, or the first 64 bits of an IPv6 one, as whoever has one
    /// address there has all of them.
    pub fn source<T>(&self, request: &Request<T>) -> String {
        let Some(peer) = request.remote_addr() else {
            return "unknown".to_owned();
        };
        let lines = request.metadata().get_all(HEADER).iter();
        let hops: Vec<&str> = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .collect();
        name(self.origin(peer.ip(), &hops))
    }

    fn origin(&self, peer: IpAddr, hops: &[&str]) -> IpAddr {
        let mut origin = peer.to_canonical();
        for hop in hops.iter().rev() {
            let Some(before) = self.trust(origin).then(|| address(hop.trim())).flatten() else {
                break;
            };
            origin = before.to_canonical();
        }
        origin
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim);
        let networks = names.filter(|name| !name.is_empty()).map(str::parse);
        networks.collect::<Result<_, _>>().map(Self)
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        differs >= self.bits
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is no address or network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| fault())?;
        if bits > all {
            return Err(fault());
        }
        Ok(Self { address, bits })
    }
}

/// Proxies write addresses with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    (bare.parse().ok()).or_else(|| {
        text.parse()
            .ok()
            .map(|with_port: SocketAddr| with_port.ip())
    })
}

fn name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(proxies: &str, peer: &str, header: &str, source: &str) {
        let proxies: Proxies = proxies.parse().expect("networks");
        let hops: Vec<&str> = header.split(',').collect();
        let origin = proxies.origin(peer.parse().expect("an address"), &hops);
        assert_eq!(name(origin), source, "{peer} says {header:?}");
    }

    #[test]
    fn a_header_counts_only_as_far_as_trusted_proxies_wrote_it() {
        let ours = "10.0.0.0/8, fd00::1";
        check("", "10.1.2.3", "203.0.113.7", "10.1.2.3");
        check(ours, "192.0.2.1", "203.0.113.7", "192.0.2.1");
        check(ours, "10.1.2.3", "203.0.113.7", "203.0.113.7");
        check(ours, "::ffff:10.1.2.3", "203.0.113.7", "203.0.113.7");
        check(ours, "fd00::1", "203.0.113.7:4711", "203.0.113.7");
        check(ours, "fd00::2", "203.0.113.7", "fd00::/64");
        // What the caller wrote stands before what the proxies added.
        check(
            ours,
            "10.0.0.1",
            "1.1.1.1, 203.0.113.7, 10.0.0.2",
            "203.0.113.7",
        );
        check(ours, "10.0.0.1", "10.0.0.9, 203.0.113.7", "203.0.113.7");
        check(ours, "10.0.0.1", "", "10.0.0.1");
        check(ours, "10.0.0.1", "203.0.113.7, unknown", "10.0.0.1");
        check(
            ours,
            "10.0.0.1",
            "[2001:db8:1:2:3::4]:80",
            "2001:db8:1:2::/64",
        );
        check(ours, "10.0.0.1", "[2001:db8:1:2:3::4]", "2001:db8:1:2::/64");
    }

    #[test]
    fn networks_are_addresses_with_as_many_bits_as_they_have() {
        for bad in [
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "a",
            "10.0.0.0/",
            "1.1.1.1 2.2.2.2",
        ] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(Proxies::default()));
        check("0.0.0.0/0", "1.2.3.4", "203.0.113.7", "203.0.113.7");
        check("::/0", "1.2.3.4", "203.0.113.7", "1.2.3.4");
    }
}
