//! Wide reads and writes at any address.

/// Bytes of a packet that are read and written in one piece, as a number of this machine whose bytes lie
/// in memory as on the wire: enough for copying, comparing and checksums.
///
/// The compiler knows that a header may lie at any address and would go byte by byte; the kernel takes
/// programs with wide access at any address on machines that are capable of it.
pub trait Field {
    /// The number.
    type Word;
    /// Reads it.
    fn fetch(&self) -> Self::Word;
    /// Writes it.
    fn put(&mut self, value: Self::Word);
}

macro_rules! field {
    ($bytes:literal, $word:ty, $load:literal, $store:literal) => {
        impl Field for [u8; $bytes] {
            type Word = $word;

            #[inline(always)]
            fn fetch(&self) -> $word {
                #[cfg(target_arch = "bpf")]
                {
                    let value: u64;
                    // SAFETY: reads these bytes, at whatever address they are, and nothing else. The
                    // load fills the register up with zeros, which is what the second line says.
                    unsafe {
                        core::arch::asm!($load, at = in(reg) self, value = lateout(reg) value,
                            options(pure, readonly, nostack));
                        core::hint::assert_unchecked(value <= u64::from(<$word>::MAX));
                    }
                    value as $word
                }
                #[cfg(not(target_arch = "bpf"))]
                <$word>::from_ne_bytes(*self)
            }

            #[inline(always)]
            fn put(&mut self, value: $word) {
                #[cfg(target_arch = "bpf")]
                // SAFETY: writes these bytes, to which the reference is the only one.
                unsafe {
                    core::arch::asm!($store, at = in(reg) self, value = in(reg) value, options(nostack));
                }
                #[cfg(not(target_arch = "bpf"))]
                {
                    *self = value.to_ne_bytes();
                }
            }
        }
    };
}

field!(2, u16, "{value} = *(u16 *)({at} + 0)", "*(u16 *)({at} + 0) = {value}");
field!(4, u32, "{value} = *(u32 *)({at} + 0)", "*(u32 *)({at} + 0) = {value}");
field!(8, u64, "{value} = *(u64 *)({at} + 0)", "*(u64 *)({at} + 0) = {value}");

impl Field for [u8; 16] {
    type Word = [u64; 2];

    #[inline(always)]
    fn fetch(&self) -> [u64; 2] {
        let (halves, _) = self.as_chunks::<8>();
        [halves[0].fetch(), halves[1].fetch()]
    }

    #[inline(always)]
    fn put(&mut self, value: [u64; 2]) {
        let (halves, _) = self.as_chunks_mut::<8>();
        halves[0].put(value[0]);
        halves[1].put(value[1]);
    }
}
