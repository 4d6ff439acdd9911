//! The file around the state. Pure.
//!
//! ```text
//! 0       8        12     16   20     24      32     36
//! magic · version · flags · pid · image · length · CRC-32 · body
//! ```
//!
//! All numbers are little-endian. The header's shape never changes, so that an image that can't read the body still knows how to
//! go back: `image` is the descriptor of the one before.

use std::os::fd::RawFd;

const MAGIC: [u8; 8] = *b"\x89clustr\n";

/// Bytes of the header.
pub(crate) const HEADER: usize = 36;

/// Where the checksum stands: of everything before it, and of the body.
const CHECKSUM: usize = 32;

/// The image that is started is the one to go back to: the one that it started could not take over, or has failed.
const RETURNED: u32 = 1;

/// What stands before the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    /// Of the body. An image that goes back writes it in the version of the one that it goes back to.
    pub(crate) version: u32,
    /// See [`RETURNED`].
    pub(crate) returned: bool,
    /// Of the process whose state it is.
    pub(crate) pid: u32,
    /// The descriptor of the image to go back to.
    pub(crate) image: RawFd,
}

/// A whole file.
pub(crate) fn write(header: &Header, body: &[u8]) -> Vec<u8> {
    let Header { version, returned, pid, image } = *header;
    let flags = if returned { RETURNED } else { 0 };
    let mut file = Vec::with_capacity(HEADER + body.len());
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&version.to_le_bytes());
    file.extend_from_slice(&flags.to_le_bytes());
    file.extend_from_slice(&pid.to_le_bytes());
    file.extend_from_slice(&image.to_le_bytes());
    file.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let checksum = checksum(&file, body);
    file.extend_from_slice(&checksum.to_le_bytes());
    file.extend_from_slice(body);
    file
}

/// Whether a file begins as one of these does.
pub(crate) fn is_ours(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

/// The header alone, whatever follows it: all that it takes to go back.
///
/// # Errors
/// In words, what is wrong with it.
pub(crate) fn header(file: &[u8]) -> Result<Header, String> {
    if !is_ours(file) {
        return Err("it is no state of a cluster: it begins otherwise".into());
    }
    if file.len() < HEADER {
        return Err(format!("the state ends within its header, after {} bytes", file.len()));
    }
    let number = |at: usize| field(file, at).map(u32::from_le_bytes);
    let flags = number(12)?;
    if flags & !RETURNED != 0 {
        return Err(format!("the state's header has flags that nobody knows: {flags:#x}"));
    }
    Ok(Header {
        version: number(8)?,
        returned: flags & RETURNED != 0,
        pid: number(16)?,
        image: field(file, 20).map(RawFd::from_le_bytes)?,
    })
}

/// The header, and the body that follows it, complete and as it was written.
///
/// # Errors
/// In words, what is wrong with it.
pub(crate) fn read(file: &[u8]) -> Result<(Header, &[u8]), String> {
    let header = header(file)?;
    if !(1..=super::VERSION).contains(&header.version) {
        return Err(format!(
            "the state is of version {}, and this program reads 1 to {}",
            header.version,
            super::VERSION
        ));
    }
    let body = file.get(HEADER..).unwrap_or_default();
    let length = field(file, 24).map(u64::from_le_bytes)?;
    if length != body.len() as u64 {
        return Err(format!("the state's header tells of {length} bytes, and {} follow", body.len()));
    }
    let told = field(file, CHECKSUM).map(u32::from_le_bytes)?;
    if told != checksum(file.get(..CHECKSUM).unwrap_or_default(), body) {
        return Err("the state is damaged: its checksum is another".into());
    }
    Ok((header, body))
}

fn field<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], String> {
    let bytes = file.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "the state ends within its header".to_owned())
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
