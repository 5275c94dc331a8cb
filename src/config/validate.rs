//! The rules for the values of a configuration.

use std::path::{Component, Path};

use super::endpoint::Endpoint;
use super::{ConnectionConfig, Delegation, Protocol};

/// The names of a job's standard output and error, in the same directory as `OUTPUT_FILE`.
const SAVED_STREAMS: [&str; 2] = ["stdout.txt", "stderr.txt"];

impl ConnectionConfig {
    /// Checks every value. The error consists of the key and a message about its value.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let paths = [
            ("CLIENT_KEY", &self.client_key),
            ("CLIENT_CERT", &self.client_cert),
            ("CERTS_DIR", &self.certs_dir),
            ("ARCPROXY_PATH", &self.arcproxy_path),
            ("PROXY_FILE", &self.proxy_file),
            ("JOBS_INFO_FILE", &self.jobs_info_file),
            ("TOKEN_FILE", &self.token_file),
        ];
        for (key, path) in paths {
            let path = path.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
            if path.is_some_and(|path| path.is_empty() || path.contains(&0)) {
                return Err((key, "a path must not be empty or contain NUL".to_owned()));
            }
        }
        Endpoint::parse(self.arc_server()).map_err(|message| ("ARC_SERVER", message))?;

        let (period, threshold) = (self.proxy_validity_period(), self.proxy_renewal_threshold());
        if period.is_zero() {
            return Err(("PROXY_VALIDITY_PERIOD", "it is 0, but must be at least 1 second".to_owned()));
        }
        if threshold >= period {
            // If one of the two values is a default, the error names the key that was set.
            let key = match self.proxy_renewal_threshold {
                Some(_) => "PROXY_RENEWAL_THRESHOLD",
                None => "PROXY_VALIDITY_PERIOD",
            };
            let (period, threshold) = (period.as_secs(), threshold.as_secs());
            let message = format!(
                "the renewal threshold ({threshold} seconds) must be less than the validity period ({period} seconds)"
            );
            return Err((key, message));
        }
        if self.token_file.is_some() {
            self.check_token_settings()?;
        }
        self.voms().iter().try_for_each(|voms| check_voms(voms)).map_err(|message| ("VOMS", message))?;
        check_output_file(self.output_file()).map_err(|message| ("OUTPUT_FILE", message))
    }
}

impl ConnectionConfig {
    /// Refuses settings under which a token would be sent to somebody else, or not at all.
    fn check_token_settings(&self) -> Result<(), (&'static str, String)> {
        if !self.verify_host() {
            let message = "it must not be false with TOKEN_FILE: anyone who poses as the CE would get the token";
            return Err(("VERIFY_HOST", message.to_owned()));
        }
        let protocol = self.interface();
        if matches!(protocol, Protocol::EmiEs | Protocol::ArcRestPlugin) {
            let message =
                format!("{protocol} cannot be used with TOKEN_FILE; set INTERFACE to auto or org.nordugrid.arcrest");
            return Err(("INTERFACE", message));
        }
        if self.delegation() == Delegation::Always {
            let message = "a token cannot be delegated, so it must not be always with TOKEN_FILE";
            return Err(("DELEGATION", message.to_owned()));
        }
        Ok(())
    }
}

/// The element becomes an argument of arcproxy.
fn check_voms(voms: &str) -> Result<(), String> {
    let vo = voms.split_once(':').map_or(voms, |(vo, _)| vo);
    let is_name = vo.starts_with(|first: char| first.is_ascii_alphanumeric())
        && vo.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !is_name {
        return Err(format!("{voms:?} must begin with the name of a VO, such as \"atlas:/atlas/Role=production\""));
    }
    if voms.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{voms:?} must not contain spaces or control characters"));
    }
    Ok(())
}

pub(super) fn check_output_file(name: &str) -> Result<(), String> {
    if name.chars().any(char::is_control) {
        return Err(format!("{name:?} must not contain control characters"));
    }
    let mut components = Path::new(name).components().filter(|component| *component != Component::CurDir).peekable();
    match components.peek() {
        None => return Err(format!("{name:?} must name a file or directory")),
        Some(Component::Normal(first)) if SAVED_STREAMS.iter().any(|stream| first == stream) => {
            return Err(format!("{name:?} is the name of a standard stream of the job; choose another name"));
        }
        Some(_) => {}
    }
    if components.any(|component| !matches!(component, Component::Normal(_))) {
        return Err(format!("{name:?} must be a relative path without \"..\""));
    }
    Ok(())
}
