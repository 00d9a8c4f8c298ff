//! The header of a safetensors file. Tensors, shapes and offsets are checked by the library that reads them.

use std::io::Read;

use crate::{MAX_HEADER_BYTES, Refused, bound, cut};

/// Bytes of the length that the file begins with.
const LENGTH_BYTES: u64 = 8;

/// Checks the length of the header against the bound and the file.
pub(crate) fn check(file: &mut impl Read, length: u64) -> Result<(), Refused> {
    let mut head = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut head).map_err(cut)?;
    let header = u64::from_le_bytes(head);
    bound("its header", "bytes", header, MAX_HEADER_BYTES)?;
    if header > length - LENGTH_BYTES {
        let rest = length - LENGTH_BYTES;
        let reason = format!("it ends too early: its header has {header} bytes, and {rest} follow");
        return Err(Refused::Format { reason });
    }
    Ok(())
}
