//! Files that hold one key of `auth_hmac`. Neither their bytes nor parts of them are ever in a message.

use std::path::Path;

use conf_parser::Loader;

/// The bytes of the key in the file at `path`: its text without the end of the line, or the digits behind `hex:`.
///
/// # Errors
/// Why there is none, without what the file says.
pub(super) fn read(loader: &dyn Loader, path: &Path) -> Result<Vec<u8>, String> {
    let bytes = loader.load(path).map_err(|error| error.to_string())?;
    let text = bytes.trim_ascii_end();
    let key = match text.strip_prefix(b"hex:") {
        Some(digits) => hex(digits).ok_or("it is no even number of hexadecimal digits")?,
        None => text.to_vec(),
    };
    match key.len() {
        32..=64 => Ok(key),
        length => Err(format!("it has {length} bytes, a key has 32 to 64")),
    }
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use conf_parser::MemoryLoader;

    use super::*;

    fn key(text: &str) -> Result<Vec<u8>, String> {
        read(&MemoryLoader::new([("/k", text)]), Path::new("/k"))
    }

    #[test]
    fn a_key_is_text_or_digits() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(key(&format!("{text}\n")).unwrap(), text.as_bytes());
        assert_eq!(key(&format!("hex:{}\n", "0f".repeat(32))).unwrap(), [15; 32]);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        let wrong = [key("short secret"), key(&format!("hex:{}", "0".repeat(65))), key(&"s".repeat(65))];
        for why in wrong.map(|wrong| wrong.unwrap_err()) {
            assert!(!why.contains("secret") && !why.contains("000") && !why.contains("sss"), "{why}");
        }
        assert_eq!(read(&MemoryLoader::new([("/k", "")]), Path::new("/other")).unwrap_err(), "no such file");
    }
}
