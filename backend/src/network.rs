//! Networks of IP addresses, as `ADDRESS/BITS` (RFC 4632, RFC 4291, section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

/// All addresses whose first bits are the same. An IPv4 address that is written in IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network, such as 192.0.2.0/24, 2001:db8::/32 or an address alone")]
pub struct NetworkError(String);

impl Network {
    /// The network of so many bits that an address is in.
    pub fn of(address: IpAddr, bits: u8) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Self { address, bits }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::of(address, self.bits) == *self
    }

    /// The network of whole clients, which are /64s of IPv6: one that is smaller means the /64 that it is in, `::1` means `::/64`.
    #[must_use]
    pub fn of_clients(self) -> Self {
        match self.address.is_ipv6() && self.bits > 64 {
            true => Self::of(self.address, 64),
            false => self,
        }
    }

    /// Whether some address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match self.bits <= other.bits {
            true => self.contains(other.address),
            false => other.contains(self.address),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        // Of an IPv4 network written in IPv6, what counts is behind the first 96 bits.
        let bits = match address.is_ipv6() && address.to_canonical().is_ipv4() {
            true => bits.checked_sub(96).ok_or_else(wrong)?,
            false => bits,
        };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self::of(address, bits))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_the_addresses_with_its_bits() {
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "192.0.2.1"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.1"));
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.9") && !holds("::ffff:192.0.2.0/120", "192.0.3.9"));
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let overlap = |a: &str, b: &str| a.parse::<Network>().unwrap().overlaps(&b.parse().unwrap());
        assert!(overlap("127.0.0.0/8", "0.0.0.0/0") && overlap("0.0.0.0/0", "127.0.0.0/8"));
        assert!(overlap("127.0.0.1", "127.0.0.0/8"));
        assert!(!overlap("127.0.0.0/8", "128.0.0.0/8") && !overlap("127.0.0.0/8", "::/0"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "/",
            "192.0.2.1/33",
            "192.0.2/24",
            "::/129",
            "localhost",
            "192.0.2.1/-1",
            "192.0.2.1/+8",
            "192.0.2.1/",
            "::ffff:192.0.2.1/8",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong:?}");
        }
    }
}
