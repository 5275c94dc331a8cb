//! A bare client for A-REX's REST interface, which shows the cost of the protocol itself.
//!
//! It uses one keep-alive connection and its own HTTP/1.1, and no code of ARC or this crate.

use std::io::{BufRead, BufReader, Error, Read, Result, Write, copy};
use std::net::TcpStream;
use std::path::Path;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream};

/// A keep-alive connection to a CE.
pub(crate) struct Client {
    host: String,
    stream: BufReader<SslStream<TcpStream>>,
}

impl Client {
    /// Connects to the host of `base`.
    ///
    /// `proxy` is the file with certificate, key and chain. `authorities` is the directory with the CA certificates.
    pub(crate) fn connect(base: &str, proxy: &Path, authorities: &Path) -> Result<Client> {
        let host = base.trim_start_matches("https://").split('/').next().unwrap_or_default().to_owned();
        let mut tls = SslConnector::builder(SslMethod::tls_client())?;
        tls.set_certificate_chain_file(proxy)?;
        tls.set_private_key_file(proxy, SslFiletype::PEM)?;
        tls.load_verify_locations(None, Some(authorities))?;
        let tcp = TcpStream::connect(&host)?;
        tcp.set_nodelay(true)?;
        let name = host.split(':').next().unwrap_or_default();
        let stream = tls.build().connect(name, tcp).map_err(Error::other)?;
        Ok(Client { host, stream: BufReader::new(stream) })
    }

    /// Sends a request and writes the body of the response to `to`. A status other than 2xx is an error.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8], mut to: impl Write) -> Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/xml\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        // One write for head and body, so that Nagle's algorithm does not delay the body.
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;

        let status = self.line()?;
        // Without Content-Length the body comes in chunks.
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((_, value)) =
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = Some(value.parse().map_err(Error::other)?);
            }
        }
        // A-REX sends the body once the head is acknowledged. Without quick ACK the kernel delays that by 40 ms.
        rustix::net::sockopt::set_tcp_quickack(self.stream.get_ref().get_ref(), true)?;
        match length {
            Some(length) => self.copy(length, &mut to)?,
            None => {
                while let length @ 1.. = u64::from_str_radix(&self.line()?, 16).map_err(Error::other)? {
                    self.copy(length, &mut to)?;
                    self.line()?;
                }
                self.line()?;
            }
        }
        if !status.starts_with("HTTP/1.1 2") {
            return Err(Error::other(format!("{method} {path}: {status}")));
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn copy(&mut self, length: u64, to: &mut impl Write) -> Result<()> {
        match copy(&mut self.stream.by_ref().take(length), to)? {
            got if got == length => Ok(()),
            got => Err(Error::other(format!("{got} of {length} bytes"))),
        }
    }

    /// Sends a request and returns the body of the response as text.
    pub(crate) fn text(&mut self, method: &str, path: &str, body: &[u8]) -> Result<String> {
        let mut text = Vec::new();
        self.request(method, path, body, &mut text)?;
        String::from_utf8(text).map_err(Error::other)
    }
}
