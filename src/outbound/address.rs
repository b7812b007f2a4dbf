//! Which addresses a call may go to (IANA special-purpose address registries, RFC 6890). What is not known to be an ordinary
//! public unicast address is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::Guard;

/// Whether the URL may be called at all, before its name is resolved.
pub(super) fn url_allowed(url: &Url, guard: Guard) -> bool {
    let plain = url.username().is_empty() && url.password().is_none();
    // What is written as an address is known at once; a name has to wait until it is resolved.
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => address_allowed(url, address.into(), guard),
        Some(Host::Ipv6(address)) => address_allowed(url, address.into(), guard),
        Some(Host::Domain(name)) => guard == Guard::Operator || !is_of_this_machine(name),
        None => true,
    };
    let scheme = match (url.scheme(), guard) {
        ("https", _) => url.host().is_some(),
        ("http", Guard::Operator) => is_this_machine(url),
        _ => false,
    };
    plain && scheme && literal
}

/// RFC 6761 section 6.3
fn is_of_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether the URL names this machine, whatever it resolves to.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether `address`, one of those that the host of `url` has, may be connected to.
pub(super) fn address_allowed(url: &Url, address: IpAddr, guard: Guard) -> bool {
    match guard {
        // INVARIANT: what is sent without TLS does not leave this machine, whatever `localhost` resolves to.
        Guard::Operator if url.scheme() == "http" => address.is_loopback(),
        Guard::Operator => match address.to_canonical() {
            IpAddr::V4(address) => !(address.is_link_local() || is_nobody(address)),
            IpAddr::V6(address) => {
                !(address.is_unicast_link_local()
                    || address.is_multicast()
                    || address.is_unspecified()
                    || is_cloud_metadata(address))
            }
        },
        Guard::Registered => match address {
            IpAddr::V4(address) => is_public_v4(address),
            // INVARIANT: forms that carry an IPv4 address (mapped, NAT64, 6to4, Teredo) all lie outside what is public here.
            IpAddr::V6(address) => is_public_v6(address),
        },
    }
}

/// No single host: multicast, broadcast, reserved, "this network".
fn is_nobody(address: Ipv4Addr) -> bool {
    let [a, ..] = address.octets();
    a == 0 || a >= 224
}

/// Where EC2 answers over IPv6.
fn is_cloud_metadata(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd00, 0xec2, ..])
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !match address.octets() {
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] // private (RFC 1918), loopback
        | [100, 64..=127, ..] // shared by carriers (RFC 6598)
        | [169, 254, ..] // link-local
        | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] // protocol assignments, documentation
        | [192, 88, 99, _] | [198, 18..=19, ..] // 6to4 relays, benchmarks
        | [168, 63, 129, 16] // the platform service of Azure: public in form, internal in fact
        => true,
        _ => is_nobody(address),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // protocol assignments with Teredo, documentation, 6to4
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // global unicast
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;

    fn allowed(address: &str, guard: Guard) -> bool {
        address_allowed(&Url::parse("https://keys.example.org").unwrap(), address.parse().unwrap(), guard)
    }

    // E18, E30
    #[test]
    fn a_registered_url_reaches_public_unicast_addresses_alone() {
        for public in
            ["8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255"]
        {
            assert!(allowed(public, Guard::Registered), "{public}");
        }
        for public in ["2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "2001:200::1"] {
            assert!(allowed(public, Guard::Registered), "{public}");
        }
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
        ] {
            assert!(!allowed(special, Guard::Registered), "{special}");
            // However the same address is written in IPv6.
            let v4: Ipv4Addr = special.parse().unwrap();
            let [a, b, c, d] = v4.octets();
            for form in [
                v4.to_ipv6_mapped().to_string(),
                format!("::{special}"),
                format!("64:ff9b::{special}"),
                format!("64:ff9b:1::{special}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
                format!("2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
                format!("::ffff:0:{special}"),
            ] {
                assert!(!allowed(&form, Guard::Registered), "{form}");
            }
        }
        for special in [
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:808:808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!allowed(special, Guard::Registered), "{special}");
        }
    }

    // E30
    #[test]
    fn an_operators_url_reaches_private_addresses_and_no_metadata_service() {
        for fine in
            ["10.0.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "8.8.8.8", "::1", "fd12:3456::1", "2606:4700::1"]
        {
            assert!(allowed(fine, Guard::Operator), "{fine}");
        }
        for never in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(!allowed(never, Guard::Operator), "{never}");
        }
    }

    #[test]
    fn http_is_for_this_machine_and_for_the_operator_alone() {
        let allowed = |url: &str, guard| url_allowed(&Url::parse(url).unwrap(), guard);
        for url in ["http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://[::1]:1/", "http://2130706433/"] {
            assert!(allowed(url, Guard::Operator), "{url}");
            assert!(!allowed(url, Guard::Registered), "{url}");
        }
        for url in [
            "http://keys.example.org/",
            "http://10.0.0.1/",
            "http://localhost.example.org/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert!(!allowed(url, Guard::Operator) && !allowed(url, Guard::Registered), "{url}");
        }
        for guard in [Guard::Operator, Guard::Registered] {
            assert!(allowed("https://keys.example.org/jwks.json", guard));
            assert!(!allowed("https://user@keys.example.org/", guard));
            assert!(!allowed("https://:secret@keys.example.org/", guard));
        }
        // E30: what is refused whatever a name would resolve to, in every spelling of an address.
        for url in [
            "https://10.0.0.1/jwks",
            "https://127.0.0.1/jwks",
            "https://0x7f.1/jwks",
            "https://2130706433/jwks",
            "https://192.168.1.1:8443/jwks",
            "https://[::1]/jwks",
            "https://[fd12:3456::1]/jwks",
            "https://[::ffff:10.0.0.1]/jwks",
            "https://localhost/jwks",
            "https://localhost./jwks",
            "https://keys.localhost/jwks",
        ] {
            assert!(!allowed(url, Guard::Registered), "{url}");
            assert!(allowed(url, Guard::Operator), "{url}: the operator's own network");
        }
        for url in
            ["https://169.254.169.254/jwks", "https://[fd00:ec2::254]/", "https://0.0.0.0/", "https://[ff02::1]/"]
        {
            assert!(!allowed(url, Guard::Registered) && !allowed(url, Guard::Operator), "{url}");
        }
        assert!(allowed("https://8.8.8.8/jwks", Guard::Registered));
        let http = Url::parse("http://localhost/").unwrap();
        assert!(!address_allowed(&http, "10.0.0.1".parse().unwrap(), Guard::Operator));
        assert!(address_allowed(&http, "127.0.0.1".parse().unwrap(), Guard::Operator));
    }
}
