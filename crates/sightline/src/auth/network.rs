//! Networks written as `address/prefix` (RFC 4632, RFC 4291 §2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 or IPv6 network such as `192.168.1.0/24`; a single address is its own network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a network was refused. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Not an address before the slash.
    #[error("{0:?} is not an IP address; write a network like 192.168.1.0/24 or fd00::/8")]
    Address(String),
    /// Not a number after the slash, or too large a one.
    #[error("{prefix:?} is not a prefix length for {address}; it goes from 0 to {max}")]
    Prefix {
        /// The address before the slash.
        address: IpAddr,
        /// What stands behind it.
        prefix: String,
        /// 32 or 128.
        max: u8,
    },
    /// Bits are set behind the prefix: probably one of the two is a slip.
    #[error("{address}/{prefix} has bits set behind its prefix; did you mean {network}/{prefix} or {address}?")]
    HostBits {
        /// The address as given.
        address: IpAddr,
        /// The prefix as given.
        prefix: u8,
        /// The address with those bits cleared.
        network: IpAddr,
    },
}

impl Network {
    /// Whether `address` lies in it. IPv4 addresses mapped into IPv6 (`::ffff:a.b.c.d`) count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && cut(address, self.prefix) == self.address
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| InvalidNetwork::Address(address.to_owned()))?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(text) => match text.parse() {
                Ok(prefix) if prefix <= max => prefix,
                _ => {
                    return Err(InvalidNetwork::Prefix {
                        address,
                        prefix: text.to_owned(),
                        max,
                    });
                }
            },
        };
        let network = cut(address, prefix);
        if network != address {
            return Err(InvalidNetwork::HostBits {
                address,
                prefix,
                network,
            });
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address with everything behind the first `prefix` bits cleared.
fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("192.168.1.0/24", "192.168.1.200", true)]
    #[case("192.168.1.0/24", "192.168.2.1", false)]
    #[case("192.168.1.0/24", "::ffff:192.168.1.7", true)]
    #[case("10.9.0.2", "10.9.0.2", true)]
    #[case("10.9.0.2", "10.9.0.3", false)]
    #[case("0.0.0.0/0", "8.8.8.8", true)]
    #[case("0.0.0.0/0", "2001:db8::1", false)]
    #[case("::/0", "2001:db8::1", true)]
    #[case("::/0", "8.8.8.8", false)]
    #[case("fd00::/8", "fdab::1", true)]
    #[case("fd00::/8", "fe80::1", false)]
    fn contains(#[case] network: Network, #[case] address: IpAddr, #[case] inside: bool) {
        assert_eq!(network.contains(address), inside);
    }

    #[rstest]
    #[case("", "\"\" is not an IP address; write a network like 192.168.1.0/24 or fd00::/8")]
    #[case("10.9.0.0/33", "\"33\" is not a prefix length for 10.9.0.0; it goes from 0 to 32")]
    #[case("10.9.0.0/", "\"\" is not a prefix length for 10.9.0.0; it goes from 0 to 32")]
    #[case("fd00::/129", "\"129\" is not a prefix length for fd00::; it goes from 0 to 128")]
    #[case(
        "10.9.0.1/16",
        "10.9.0.1/16 has bits set behind its prefix; did you mean 10.9.0.0/16 or 10.9.0.1?"
    )]
    fn refuses(#[case] text: &str, #[case] why: &str) {
        assert_eq!(text.parse::<Network>().unwrap_err().to_string(), why);
    }

    proptest! {
        #[test]
        fn an_address_is_in_its_own_network(bits: u128, prefix in 0_u8..=128) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            let network = Network { address: cut(address, prefix), prefix };
            // A mapped address counts as IPv4, so it is in no IPv6 network.
            prop_assert_eq!(network.contains(address), address.to_canonical().is_ipv6());
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        }
    }
}
