//! Who a request comes from, for the limits: an IPv4 address, or an IPv6 network of 64 bits.
//!
//! It is the peer of the connection. Only where that is a proxy that the configuration trusts is a header read, and only the one that
//! the configuration names: a proxy passes on whatever it does not write itself, so a second header would be the client's own say.
//! Proxies append, so the header is read from the right: the first address that is not a trusted proxy's is the client's. What
//! stands to the left of it anybody could have written.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use http::{HeaderMap, header};

use crate::config::{ForwardedHeader, LimitConfig};
use crate::network::Network;

/// Hops that are looked at: more proxies in a row are nobody's.
const MOST_HOPS: usize = 32;

/// One who has a quota. IPv6 goes by /64, because that is what one subscriber has (RFC 6177): with single addresses anybody would
/// have 2^64 quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(IpAddr);

impl Client {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64))),
        }
    }

    /// The client of a request: see the module.
    pub fn of_request(peer: IpAddr, headers: &HeaderMap, config: &LimitConfig) -> Self {
        let trusted = |address: IpAddr| config.trusted_proxies.iter().any(|proxy| proxy.contains(address));
        let mut nearest = peer;
        if !trusted(peer) {
            return Self::of(peer);
        }
        let name = match config.forwarded_header {
            ForwardedHeader::XForwardedFor => header::HeaderName::from_static("x-forwarded-for"),
            ForwardedHeader::Forwarded => header::FORWARDED,
        };
        // Several lines are one list (RFC 9110, section 5.3).
        let lines: Vec<_> = headers.get_all(&name).iter().collect();
        let quotes = config.forwarded_header == ForwardedHeader::Forwarded;
        let hops = lines
            .iter()
            .rev()
            .flat_map(|line| from_the_right(line.as_bytes(), quotes));
        for hop in hops.take(MOST_HOPS) {
            let address = match config.forwarded_header {
                ForwardedHeader::XForwardedFor => address(hop.trim_ascii()),
                ForwardedHeader::Forwarded => forwarded_for(hop),
            };
            // Whoever it was, this proxy did not tell: what it lets through is put down to it.
            let Some(address) = address else { break };
            nearest = address;
            if !trusted(address) {
                break;
            }
        }
        Self::of(nearest)
    }

    /// An address, or the first of its network.
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// The network of the neighbours it shares a bucket with when the table is full: /24 of IPv4, /48 of IPv6 (one site).
    pub fn neighbourhood(self) -> Network {
        Network::of(self.0, if self.0.is_ipv4() { 24 } else { 48 })
    }

    /// Its first half, and a mark by which two clients can be told apart as long as this process runs.
    pub fn masked(self) -> String {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mark = KEYS.hash_one(self) & 0xffff;
        match self.0 {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                format!("{a}.{b}.*.*#{mark:04x}")
            }
            IpAddr::V6(v6) => {
                let [a, b, ..] = v6.segments();
                format!("{a:x}:{b:x}:*#{mark:04x}")
            }
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// The elements of a list, the last one first. They are told apart from the right too: what the nearest proxy appended is well formed,
/// whatever stands to the left of it. A quotation mark that a client left open would otherwise swallow it, and the client would pass
/// for the proxy. `X-Forwarded-For` has no quoted strings at all.
fn from_the_right(line: &[u8], quotes: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut quoted = false;
        let comma = (0..line.len()).rev().find(|&at| {
            // Within a quoted string one that stands behind an odd number of backslashes is a part of it.
            let is_escaped = || line[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1;
            match line[at] {
                b'"' if quotes && !(quoted && is_escaped()) => {
                    quoted = !quoted;
                    false
                }
                byte => byte == b',' && !quoted,
            }
        });
        rest = comma.map(|at| &line[..at]);
        Some(comma.map_or(line, |at| &line[at + 1..]))
    })
}

/// The pairs of an element: told apart by the semicolons that stand outside of quotation marks, as a proxy passes on what it was sent.
fn pairs(element: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    element.split(move |&byte| {
        let is_escaped = escaped;
        escaped = quoted && !is_escaped && byte == b'\\';
        if byte == b'"' && !is_escaped {
            quoted = !quoted;
        }
        byte == b';' && !quoted
    })
}

/// The `for` of an element of Forwarded (RFC 7239, section 4); `None` where it is hidden, unknown or wrong.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for pair in pairs(element) {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        // Quotation marks that a client left open would swallow what the proxy appends.
        if !is_value(value) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None;
            }
            let value = value
                .strip_prefix(b"\"")
                .and_then(|value| value.strip_suffix(b"\""))
                .unwrap_or(value);
            found = Some(address(value)?);
        }
    }
    found
}

/// A token, or a quoted string that is closed where it ends (RFC 9110, sections 5.6.2 and 5.6.4); a colon is let pass in a token.
fn is_value(value: &[u8]) -> bool {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return !value.is_empty() && value.iter().all(|&b| b.is_ascii_graphic() && !b"\",;=".contains(&b));
    };
    let Some(quoted) = quoted.strip_suffix(b"\"") else {
        return false;
    };
    let mut escaped = false;
    let closed_within = quoted.iter().any(|&byte| {
        let is_escaped = escaped;
        escaped = !is_escaped && byte == b'\\';
        byte == b'"' && !is_escaped
    });
    !closed_within && !escaped
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
    };
    if let Some((v6, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return is_port(rest)
            .then(|| v6.parse::<Ipv6Addr>().ok())
            .flatten()
            .map(IpAddr::V6);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (v4, port) = text.split_at(text.find(':')?);
    is_port(port).then(|| v4.parse().ok()).flatten().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn client_of(peer: &str, forwarded_header: ForwardedHeader, lines: &[(&'static str, &str)]) -> String {
        let config = LimitConfig {
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap(), "2001:db8:aaaa::/48".parse().unwrap()],
            forwarded_header,
            ..LimitConfig::default()
        };
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        Client::of_request(peer.parse().unwrap(), &headers, &config).to_string()
    }

    fn x_forwarded_for(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|&line| ("x-forwarded-for", line)).collect();
        client_of(peer, ForwardedHeader::XForwardedFor, &lines)
    }

    fn forwarded(line: &str) -> String {
        client_of("127.0.0.1", ForwardedHeader::Forwarded, &[("forwarded", line)])
    }

    #[test]
    fn a_header_from_a_peer_that_is_not_trusted_is_not_read() {
        for spoofed in ["198.51.100.1", "127.0.0.1", "10.0.0.1, 127.0.0.1"] {
            assert_eq!(x_forwarded_for("192.0.2.7", &[spoofed]), "192.0.2.7");
        }
    }

    #[test]
    fn the_client_is_the_right_most_that_is_not_a_trusted_proxy() {
        assert_eq!(x_forwarded_for("127.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        // What the client itself wrote stands to the left of what the proxy saw.
        assert_eq!(x_forwarded_for("127.0.0.1", &["198.51.100.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            x_forwarded_for("127.0.0.1", &["198.51.100.1", "192.0.2.7"]),
            "192.0.2.7"
        );
        assert_eq!(
            x_forwarded_for("127.0.0.1", &["198.51.100.1, 192.0.2.7, 127.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(x_forwarded_for("127.0.0.1", &["127.0.0.9,127.0.0.2"]), "127.0.0.9");
        assert_eq!(x_forwarded_for("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(x_forwarded_for("::ffff:127.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
    }

    #[test]
    fn only_the_header_that_is_named_is_read() {
        let both = [("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(
            client_of("127.0.0.1", ForwardedHeader::XForwardedFor, &both),
            "192.0.2.7"
        );
        assert_eq!(
            client_of("127.0.0.1", ForwardedHeader::Forwarded, &both),
            "198.51.100.1"
        );
    }

    #[test]
    fn what_a_proxy_does_not_tell_is_put_down_to_it() {
        assert_eq!(x_forwarded_for("127.0.0.1", &["198.51.100.1, unknown"]), "127.0.0.1");
        assert_eq!(x_forwarded_for("127.0.0.1", &["198.51.100.1, "]), "127.0.0.1");
        assert_eq!(
            x_forwarded_for("127.0.0.1", &["198.51.100.1, rubbish, 127.0.0.2"]),
            "127.0.0.2"
        );
        for hidden in [
            "for=_hidden",
            "for=unknown",
            "by=192.0.2.1",
            "for=192.0.2.1;for=192.0.2.2",
            "",
            "\"for=1.2.3.4",
        ] {
            assert_eq!(forwarded(hidden), "127.0.0.1", "{hidden}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        assert_eq!(forwarded("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        // The host is what the client asked for.
        assert_eq!(forwarded("for=192.0.2.60;host=\"a;for=192.0.2.1\""), "192.0.2.60");
        assert_eq!(forwarded("host=\"a\\\";b\";for=192.0.2.60"), "192.0.2.60");
        assert_eq!(forwarded("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::/64");
        assert_eq!(forwarded("for=192.0.2.43, for=198.51.100.17"), "198.51.100.17");
        assert_eq!(
            forwarded("proto=\"a,for=192.0.2.1\";for=198.51.100.17"),
            "198.51.100.17"
        );
        assert_eq!(forwarded("for=\"192.0.2.43:47011\" , for=127.0.0.2"), "192.0.2.43");
    }

    #[test]
    fn a_quotation_mark_left_open_hides_nobody() {
        for written in [
            "for=198.51.100.1;x=\"",
            "for=198.51.100.1;x=\"\\",
            "for=\"198.51.100.1",
            "\"",
            "\\\"",
            "for=198.51.100.1;x=\"a\\\\\"\"",
        ] {
            for (appended, client) in [
                ("for=\"[2001:db8::1]:80\"", "2001:db8::/64"),
                ("for=203.0.113.5;proto=\"http\"", "203.0.113.5"),
                ("for=\"203.0.113.5\";host=\"a\\\", for=192.0.2.1\"", "203.0.113.5"),
            ] {
                let line = format!("{written}, {appended}");
                assert_eq!(forwarded(&line), client, "{line}");
            }
            let line = format!("{written}, 203.0.113.5");
            assert_eq!(x_forwarded_for("127.0.0.1", &[&line]), "203.0.113.5", "{line}");
        }
    }

    #[test]
    fn ipv6_goes_by_64_bits() {
        assert_eq!(x_forwarded_for("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::/64");
        assert_eq!(
            Client::of("2001:db8::1".parse().unwrap()),
            Client::of("2001:db8::ffff:2".parse().unwrap())
        );
        assert_eq!(Client::of("::ffff:192.0.2.1".parse().unwrap()).to_string(), "192.0.2.1");
    }

    #[test]
    fn a_masked_address_keeps_its_mark_and_gives_away_half_of_it() {
        let client = Client::of("192.0.2.77".parse().unwrap());
        assert_eq!(client.masked(), client.masked());
        assert!(client.masked().starts_with("192.0.*.*#"), "{}", client.masked());
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_it_stays_who_it_is(lines in prop::collection::vec("[ -~]{0,40}", 0..4)) {
            for header in ["x-forwarded-for", "forwarded"] {
                let kind = if header == "forwarded" { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
                let config = LimitConfig {
                    trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
                    forwarded_header: kind,
                    ..LimitConfig::default()
                };
                let mut headers = HeaderMap::new();
                for line in &lines {
                    headers.append(header, HeaderValue::from_str(line).unwrap());
                }
                let of = |headers: &HeaderMap| Client::of_request("127.0.0.1".parse().unwrap(), headers, &config);
                // The proxy appends to the last line, or on a line of its own.
                let seen = if header == "forwarded" { "for=203.0.113.5" } else { "203.0.113.5" };
                if let Some((last, others)) = lines.split_last() {
                    let mut headers = HeaderMap::new();
                    for line in others {
                        headers.append(header, HeaderValue::from_str(line).unwrap());
                    }
                    headers.append(header, HeaderValue::from_str(&format!("{last}, {seen}")).unwrap());
                    prop_assert_eq!(of(&headers).to_string(), "203.0.113.5");
                }
                headers.append(header, HeaderValue::from_static(seen));
                prop_assert_eq!(of(&headers).to_string(), "203.0.113.5");
            }
        }
    }
}
