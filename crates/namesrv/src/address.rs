// SPDX-License-Identifier: Apache-2.0
//! The address a client is given. A broker on this machine that announces no address of its own, or only loopback, is
//! reached where the client reached us; every other address is passed on as announced. Called by the route handlers.

use std::net::{IpAddr, SocketAddr};

use crate::table::Address;

/// The text to give to a client that reached us on `local`.
pub(crate) fn reachable(announced: &Address, local: SocketAddr) -> String {
    let told = announced.text.parse::<SocketAddr>().ok().filter(|_| announced.is_local);
    let here = canonical(local.ip());
    match told {
        Some(told) if told.ip().is_unspecified() => SocketAddr::new(here, told.port()).to_string(),
        Some(told) if canonical(told.ip()).is_loopback() && !here.is_loopback() => {
            SocketAddr::new(here, told.port()).to_string()
        }
        _ => announced.text.clone(),
    }
}

/// Returns true when a connection from `peer` to `local` did not leave this machine.
pub(crate) fn is_same_machine(peer: SocketAddr, local: SocketAddr) -> bool {
    let peer = canonical(peer.ip());
    peer.is_loopback() || peer == canonical(local.ip())
}

/// An IPv4 address that arrives on a socket for both families is still an IPv4 address.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_broker_is_where_we_are() {
        let check = |text: &str, is_local, local: &str, expected: &str| {
            let announced = Address { text: text.into(), is_local };
            assert_eq!(reachable(&announced, local.parse().unwrap()), expected, "{text} for {local}");
        };
        check("0.0.0.0:10911", true, "127.0.0.1:9876", "127.0.0.1:10911");
        check("0.0.0.0:10911", true, "10.0.0.7:9876", "10.0.0.7:10911");
        check("0.0.0.0:10911", false, "10.0.0.7:9876", "0.0.0.0:10911");
        check("[::]:10911", true, "[fe80::1]:9876", "[fe80::1]:10911");
        check("127.0.0.1:10911", true, "127.0.0.1:9876", "127.0.0.1:10911");
        check("127.0.0.1:10911", true, "[::ffff:10.0.0.7]:9876", "10.0.0.7:10911");
        check("127.0.0.1:10911", true, "[::1]:9876", "127.0.0.1:10911");
        check("192.168.1.5:10911", true, "10.0.0.7:9876", "192.168.1.5:10911");
        check("broker.example:10911", true, "10.0.0.7:9876", "broker.example:10911");
    }

    #[test]
    fn a_machine_knows_itself() {
        let same = |peer: &str, local: &str| is_same_machine(peer.parse().unwrap(), local.parse().unwrap());
        assert!(same("127.0.0.1:5", "127.0.0.1:9876") && same("10.0.0.7:5", "[::ffff:10.0.0.7]:9876"));
        assert!(!same("10.0.0.8:5", "10.0.0.7:9876"));
    }
}
