//! Who may ask, how many at once, and for how long.
//!
//! The page answers the browser that shows it and nobody else. Another page in the same browser may send requests here, but
//! its `Origin` is another. A name that somebody's server points at this machine (DNS rebinding) makes the origin look right,
//! but then `Host` is that name: only addresses, `localhost`, and names that were allowed are answered.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::sync::Semaphore;

use crate::{problem::Problem, server::AllowedHost};

/// Scripts, styles and requests from here only; nothing inline, no frames, no forms.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The port that browsers leave out behind `https://`.
const TLS_PORT: u16 = 443;

/// What is let in.
pub(crate) struct Guard {
    /// The port that the page is at.
    pub(crate) port: u16,
    /// Names besides `localhost` and addresses.
    pub(crate) hosts: Vec<AllowedHost>,
    /// One permit for each request that is being answered.
    pub(crate) requests: Semaphore,
    /// How long a request may take.
    pub(crate) time: Duration,
}

/// What stands before and after the last colon of a host. A colon inside brackets belongs to an address.
pub(crate) fn name_and_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

impl Guard {
    /// Says why a `Host` header is not this page; nothing if it is.
    fn foreign(&self, host: &str) -> Option<String> {
        let (name, port) = name_and_port(host);
        if self.has_tls(host) {
            return None;
        }
        let port: Option<u16> = port.map_or(Some(80), |port| port.parse().ok());
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let allowed = || self.hosts.iter().filter(|host| name.eq_ignore_ascii_case(&host.name));
        let known = name.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || allowed().any(|host| host.port.is_none());
        if (known && port == Some(self.port))
            || port.is_some_and(|port| allowed().any(|host| host.port == Some(port)))
        {
            return None;
        }
        match port {
            Some(port) if known || allowed().next().is_some() => Some(format!(
                "a request for port {port}, but the page is at {}; where a tunnel or a proxy has another port, \
                 `--allow-host {name}:{port}` allows it",
                self.port
            )),
            _ => Some("a request for another host; `--allow-host NAME` allows one".to_owned()),
        }
    }

    /// Whether a host is a proxy that speaks TLS: one that was allowed with port 443, which browsers leave out.
    fn has_tls(&self, host: &str) -> bool {
        let (name, port) = name_and_port(host);
        let allowed =
            |one: &AllowedHost| one.port == Some(TLS_PORT) && one.name.eq_ignore_ascii_case(name);
        port.is_none_or(|port| port.parse() == Ok(TLS_PORT)) && self.hosts.iter().any(allowed)
    }

    /// Whether an origin is the page itself as it was asked for at this host.
    fn is_own(&self, origin: &str, host: &str) -> bool {
        if let Some(from) = origin.strip_prefix("https://") {
            return self.has_tls(from)
                && self.has_tls(host)
                && name_and_port(from).0.eq_ignore_ascii_case(name_and_port(host).0);
        }
        origin.strip_prefix("http://").is_some_and(|from| from == host)
    }

    fn refuse(&self, method: &Method, headers: &HeaderMap) -> Option<String> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let Some(host) = text(header::HOST) else { return Some("a request without Host".into()) };
        if let Some(reason) = self.foreign(host) {
            return Some(reason);
        }
        if let Some(origin) = text(header::ORIGIN) {
            // The page asks the host that it came from.
            if !self.is_own(origin, host) {
                return Some("a request from another page".into());
            }
        }
        // A link on another page may lead here: the page is shown by itself, and tells the other one nothing.
        let is_visit = method == Method::GET
            && text(HeaderName::from_static("sec-fetch-dest")) == Some("document");
        match text(HeaderName::from_static("sec-fetch-site")) {
            None | Some("same-origin" | "none") => None,
            Some(_) if is_visit => None,
            Some(_) => Some("a request from another page".into()),
        }
    }
}

/// Lets a request in, or says why not; gives every answer the headers that protect the page.
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = admit(&guard, request, next).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn admit(guard: &Guard, request: Request, next: Next) -> Response {
    if let Some(reason) = guard.refuse(request.method(), request.headers()) {
        return Problem::new(StatusCode::FORBIDDEN, reason).into_response();
    }
    let Ok(_permit) = guard.requests.try_acquire() else {
        let busy = "too many requests at once; try again";
        let mut response = Problem::new(StatusCode::SERVICE_UNAVAILABLE, busy).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    };
    match tokio::time::timeout(guard.time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let late = format!("not done after {} s", guard.time.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, late).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At port 8080, with these hosts besides its own.
    fn guard(hosts: &[&str]) -> Guard {
        Guard {
            port: 8080,
            hosts: hosts.iter().map(|host| host.parse().expect("a host")).collect(),
            requests: Semaphore::new(1),
            time: Duration::from_secs(1),
        }
    }

    #[test]
    fn only_addresses_localhost_and_allowed_names_with_the_right_port_are_this_page() {
        let guard = guard(&["lab.example", "localhost:9000", "proxy.example:443"]);
        for own in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "lab.example:8080",
            "localhost:9000",
            "proxy.example:443",
            "proxy.example",
        ] {
            assert_eq!(guard.foreign(own), None, "{own}");
        }
        for other in [
            "evil.example:8080",
            "localhost.evil.example:8080",
            "127.0.0.1:8081",
            "127.0.0.1",
            "[::1]",
            "127.0.0.1.evil.example:8080",
            "",
            ":8080",
            "[evil.example]:8080",
        ] {
            assert!(guard.foreign(other).is_some(), "{other}");
        }
    }

    #[test]
    fn a_proxy_with_tls_is_this_page_where_it_was_allowed_with_its_port() {
        let guard = guard(&["lab.example", "proxy.example:443"]);
        let refused = |host: &'static str, origin: &'static str| {
            let headers = [(header::HOST, host), (header::ORIGIN, origin)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            guard.refuse(&Method::POST, &headers.into_iter().collect())
        };
        for host in ["proxy.example", "proxy.example:443", "Proxy.example"] {
            for origin in ["https://proxy.example", "https://proxy.example:443"] {
                assert_eq!(refused(host, origin), None, "{host} {origin}");
            }
            for other in ["https://evil.example", "https://lab.example", "https://localhost:443"] {
                assert!(refused(host, other).is_some(), "{host} {other}");
            }
        }
        for (host, origin) in [
            ("lab.example:8080", "https://lab.example:8080"),
            ("lab.example", "https://lab.example"),
            ("127.0.0.1:8080", "https://proxy.example"),
            ("proxy.example.evil.example", "https://proxy.example.evil.example"),
        ] {
            assert!(refused(host, origin).is_some(), "{host} {origin}");
        }
    }

    #[test]
    fn a_known_host_at_another_port_is_told_so_and_not_to_allow_what_is_allowed() {
        let guard = guard(&["lab.example", "proxy.example:443"]);
        for (host, name, port) in [
            ("lab.example:9000", "lab.example", 9000),
            ("localhost:9000", "localhost", 9000),
            ("lab.example", "lab.example", 80),
            ("proxy.example:8080", "proxy.example", 8080),
        ] {
            let said = guard.foreign(host).expect("refused");
            assert!(said.contains(&format!("port {port}, but the page is at 8080")), "{said}");
            assert!(said.contains(&format!("--allow-host {name}:{port}`")), "{said}");
        }
        let said = guard.foreign("evil.example:8080").expect("refused");
        assert!(said.contains("another host"), "{said}");
    }

    #[test]
    fn what_is_no_host_cannot_be_allowed() {
        for bad in ["http://lab.example", "lab.example/", "lab.example:port", "", "a b", "x:99999"]
        {
            let said = bad.parse::<AllowedHost>().expect_err(bad).to_string();
            assert!(said.contains("NAME or NAME:PORT"), "{said}");
        }
        let host: AllowedHost = "[::1]:9000".parse().expect("an address");
        assert_eq!((host.name.as_str(), host.port), ("[::1]", Some(9000)));
    }
}
