//! The few `bpf()` calls that the laboratory makes itself, without the library that it tests.
#![expect(unsafe_code, reason = "raw bpf() calls, on attributes laid out as in linux/bpf.h")]

use anyhow::{Context, Result};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_CREATE: libc::c_long = 0;
const OBJ_PIN: libc::c_long = 6;

/// The shape of a map, as `BPF_MAP_CREATE` takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// The most entries.
    pub entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
}

/// The attributes of `BPF_MAP_CREATE`, up to where they are needed.
#[repr(C)]
struct Create {
    shape: Shape,
    /// For maps of maps: the shape of those, as the descriptor of one.
    inner: u32,
}

impl Shape {
    /// Makes a map of this shape, and pins it.
    pub fn pin(self, path: &Path) -> Result<()> {
        const ARRAY: u32 = 2;
        const ARRAY_OF_MAPS: u32 = 12;
        let inner = Self { kind: ARRAY, key: 4, value: 4, entries: 1, flags: 0 };
        let inner = call(MAP_CREATE, &Create { shape: inner, inner: 0 }).context("make an inner map")?;
        let of = if self.kind == ARRAY_OF_MAPS { u32::try_from(inner.as_raw_fd())? } else { 0 };
        let map = call(MAP_CREATE, &Create { shape: self, inner: of });
        let map = map.with_context(|| format!("make a map {self:?}"))?;
        let name = CString::new(path.as_os_str().as_bytes())?;
        let attributes = Pin { name: name.as_ptr() as u64, fd: u32::try_from(map.as_raw_fd())?, flags: 0 };
        // SAFETY: as in `call`; the name outlives the call.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, OBJ_PIN, std::ptr::from_ref(&attributes), size_of::<Pin>())
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("pin {}", path.display()));
        }
        Ok(())
    }
}

/// The attributes of `BPF_OBJ_PIN`.
#[repr(C)]
struct Pin {
    name: u64,
    fd: u32,
    flags: u32,
}

/// A command that makes something and answers its descriptor.
pub(super) fn call<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are a prefix of the kernel's union, sized as told; what they point to lives
    // as long as the call. The kernel only reads all of it.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let descriptor = i32::try_from(result).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: such a command returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
