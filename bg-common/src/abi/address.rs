//! Addresses, of both versions of IP alike.

/// An IPv4 (mapped into `::ffff:0:0/96`) or IPv6 address in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C, align(8))]
pub struct Address(pub [u8; 16]);

impl Address {
    /// The IPv4 address `a`, mapped (RFC 4291, 2.5.5.2).
    #[must_use]
    #[inline(always)]
    pub const fn v4(a: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]])
    }

    /// The last four bytes: the IPv4 address, if this is a mapped one.
    #[must_use]
    #[inline(always)]
    pub const fn tail(&self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// Whether it is a mapped IPv4 address.
    #[must_use]
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        let [first, second, third, _] = self.words();
        first | second == 0 && third == u32::from_ne_bytes([0, 0, 0xff, 0xff])
    }

    /// Words of four bytes, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        let (words, _) = self.0.as_chunks::<4>();
        [
            u32::from_ne_bytes(words[0]),
            u32::from_ne_bytes(words[1]),
            u32::from_ne_bytes(words[2]),
            u32::from_ne_bytes(words[3]),
        ]
    }

    /// Both halves, for comparing and hashing.
    #[must_use]
    #[inline(always)]
    pub const fn halves(&self) -> [u64; 2] {
        let (halves, _) = self.0.as_chunks::<8>();
        [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])]
    }

    /// The other way round than [`Self::halves`].
    #[must_use]
    #[inline(always)]
    pub const fn from_halves([high, low]: [u64; 2]) -> Self {
        let mut bytes = [0; 16];
        let (first, last) = bytes.split_at_mut(8);
        first.copy_from_slice(&high.to_ne_bytes());
        last.copy_from_slice(&low.to_ne_bytes());
        Self(bytes)
    }
}
