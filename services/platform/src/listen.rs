//! Listening, before anything else is started: a port in use must be the first thing that is said.
//!
//! Invariant: an error names the address and the variable that changes it.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;

pub async fn listen(address: &str, variable: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; {variable} names another address (host:port)")
    })
}

/// How this machine reaches what listens there: the address for "everywhere" is none to connect to.
pub fn reachable(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    let mut address = listener.local_addr()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn port_in_use_is_named_with_its_variable() {
        let first = listen("127.0.0.1:0", "WFP_CATALOG_ADDR").await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let refusal = format!(
            "{:#}",
            listen(&address, "WFP_CATALOG_ADDR").await.unwrap_err()
        );
        assert!(
            refusal.contains(&address) && refusal.contains("WFP_CATALOG_ADDR"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn everywhere_is_reached_at_home() {
        let listener = listen("0.0.0.0:0", "X").await.unwrap();
        assert!(reachable(&listener).unwrap().ip().is_loopback());
    }
}
