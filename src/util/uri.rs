//! Percent-encoding of paths.

use std::fmt::Write;

/// Encodes all but RFC 3986's unreserved characters and `/`: any reader must take what is left literally.
pub(crate) fn encode_path(path: &[u8]) -> String {
    let mut uri = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            write!(uri, "%{byte:02X}").expect("a String takes all that is written");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::encode_path;

    #[test]
    fn only_unreserved_characters_are_left() {
        assert_eq!(encode_path("/a-b_c.d~e/0".as_bytes()), "/a-b_c.d~e/0");
        assert_eq!(encode_path("/é %2F?#;&+:\n".as_bytes()), "/%C3%A9%20%252F%3F%23%3B%26%2B%3A%0A");
    }
}
