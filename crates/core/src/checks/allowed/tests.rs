//! Every class of address, and what opens the door to it.

use super::*;

fn allowed(entries: &[&str]) -> Allowed {
    let entries: Vec<String> = entries.iter().map(|e| (*e).to_owned()).collect();
    Allowed::new(&entries).unwrap()
}

fn may(allowed: &Allowed, host: &str, address: &str, port: u16) -> bool {
    allowed
        .permits(host, address.parse().unwrap(), port)
        .is_ok()
}

#[test]
fn every_address_has_its_class() {
    use Class::{Embedded, LinkLocal, Loopback, Metadata, Multicast, Private, Public, Unspecified};
    let cases = [
        ("0.0.0.0", Unspecified),
        ("0.1.2.3", Unspecified),
        ("::", Unspecified),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("169.254.0.1", LinkLocal),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("100.100.100.200", Metadata),
        ("168.63.129.16", Metadata),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("224.0.0.1", Multicast),
        ("239.255.255.250", Multicast),
        ("240.0.0.1", Multicast),
        ("255.255.255.255", Multicast),
        ("ff02::1", Multicast),
        ("::ffff:127.0.0.1", Embedded),
        ("::ffff:8.8.8.8", Embedded),
        ("::127.0.0.1", Embedded),
        ("64:ff9b::7f00:1", Embedded),
        ("2002:7f00:1::1", Embedded),
        ("2001::1", Embedded),
        ("10.0.0.1", Private),
        ("172.16.0.1", Private),
        ("172.32.0.1", Public),
        ("192.168.255.255", Private),
        ("100.64.0.1", Private),
        ("100.128.0.1", Public),
        ("fd12::1", Private),
        ("fec0::1", Private),
        ("8.8.8.8", Public),
        ("2606:4700::1111", Public),
    ];
    for (address, class) in cases {
        assert_eq!(class_of(address.parse().unwrap()), class, "{address}");
    }
}

#[test]
fn nothing_may_be_asked_that_is_not_listed() {
    let none = allowed(&[]);
    for address in [
        "10.0.0.1",
        "8.8.8.8",
        "127.0.0.1",
        "fd12::1",
        "2606:4700::1",
    ] {
        assert!(!may(&none, address, address, 80), "{address}");
    }
}

#[test]
fn entries_open_what_they_name() {
    let cases = [
        ("a network, inside it", "10.1.0.0/16", "10.1.2.3", 80, true),
        ("a network, beside it", "10.1.0.0/16", "10.2.0.1", 80, false),
        ("an address", "10.1.2.3", "10.1.2.3", 443, true),
        (
            "an address with a port",
            "10.1.2.3:443",
            "10.1.2.3",
            443,
            true,
        ),
        ("another port of it", "10.1.2.3:443", "10.1.2.3", 80, false),
        (
            "a network with a port",
            "10.1.0.0/16:80",
            "10.1.2.3",
            80,
            true,
        ),
        ("an IPv6 network", "fd12::/16", "fd12:1::1", 80, true),
        (
            "an IPv6 address with a port",
            "[fd12::1]:80",
            "fd12::1",
            80,
            true,
        ),
        ("another port of that", "[fd12::1]:80", "fd12::1", 81, false),
        ("everything public", "0.0.0.0/0", "8.8.8.8", 80, true),
        (
            "everything, but not this machine",
            "0.0.0.0/0",
            "127.0.0.1",
            80,
            false,
        ),
        (
            "everything, but no metadata",
            "0.0.0.0/0",
            "169.254.169.254",
            80,
            false,
        ),
        (
            "everything IPv6, but not this machine",
            "::/0",
            "::1",
            80,
            false,
        ),
        (
            "everything IPv6 is not everything IPv4",
            "::/0",
            "8.8.8.8",
            80,
            false,
        ),
        (
            "everything IPv6, but nothing mapped",
            "::/0",
            "::ffff:8.8.8.8",
            80,
            false,
        ),
        (
            "mapped addresses as such",
            "::ffff:0:0/96",
            "::ffff:8.8.8.8",
            80,
            true,
        ),
        (
            "IPv4 by name is not its mapped form",
            "8.8.8.8",
            "::ffff:8.8.8.8",
            80,
            false,
        ),
        ("this machine as such", "127.0.0.0/8", "127.0.0.1", 80, true),
        ("this machine by IPv6", "::1", "::1", 80, true),
        (
            "link-local as such",
            "169.254.0.0/17",
            "169.254.1.1",
            80,
            true,
        ),
        (
            "link-local, but no metadata",
            "169.254.0.0/16",
            "169.254.169.254",
            80,
            false,
        ),
        (
            "metadata as such",
            "169.254.169.254",
            "169.254.169.254",
            80,
            true,
        ),
        (
            "a private network, but no metadata in it",
            "fd00::/8",
            "fd00:ec2::254",
            80,
            false,
        ),
        ("multicast as such", "224.0.0.0/4", "224.0.0.1", 80, true),
    ];
    for (name, entry, address, port, expected) in cases {
        assert_eq!(
            may(&allowed(&[entry]), address, address, port),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_name_opens_no_door_to_where_it_should_not_point() {
    let names = allowed(&["prometheus.lab:9090", "Gate.Lab"]);
    assert!(may(&names, "prometheus.lab", "10.0.0.1", 9090));
    assert!(!may(&names, "prometheus.lab", "10.0.0.1", 9091));
    assert!(may(&names, "gate.lab.", "8.8.8.8", 80));
    assert!(!may(&names, "other.lab", "10.0.0.1", 9090));
    for address in [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fe80::1",
        "::ffff:10.0.0.1",
        "0.0.0.0",
    ] {
        assert!(!may(&names, "gate.lab", address, 80), "{address}");
    }
    let both = allowed(&["gate.lab", "127.0.0.0/8"]);
    assert!(may(&both, "gate.lab", "127.0.0.1", 80), "listed as such");
}

#[test]
fn any_is_any_but_the_special_ones() {
    let any = allowed(&[]).or_any(true);
    for (address, expected) in [
        ("8.8.8.8", true),
        ("10.0.0.1", true),
        ("fd12::1", true),
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("169.254.1.1", false),
        ("fd00:ec2::254", false),
        ("::ffff:8.8.8.8", false),
        ("0.0.0.0", false),
        ("224.0.0.1", false),
    ] {
        assert_eq!(may(&any, "x", address, 80), expected, "{address}");
    }
}

#[test]
fn what_is_no_target_is_refused() {
    for text in [
        "",
        "10.1.2.3/8",
        "10.0.0.0/33",
        "fd12::/129",
        "10.0.0.1:0",
        "10.0.0.1:70000",
        "10.0.0.256",
        "[fd12::1",
        "[fd12::1]x",
        "http://gate.lab",
        "gate.lab/path",
        "*.lab",
        "a b",
        "-:x",
    ] {
        let error = Allowed::new(&[text.to_owned()]).unwrap_err();
        assert_eq!(error, InvalidTarget(text.to_owned()));
    }
}
