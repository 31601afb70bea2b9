//! Which instruction set the kernels may use, as a value.
//!
//! A [`Tier`] can only be made by detection, so holding one proves that the machine has the
//! instructions: this is what discharges the safety obligation of every `#[target_feature]` call in
//! this crate.

use std::fmt;

/// An instruction-set level that this machine has. Ordered: a later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(Kind);

/// The levels, for matching inside this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// No instructions beyond the target's baseline.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL, VNNI and BF16, and all of `Avx2`.
    Avx512,
}

impl Tier {
    /// The portable tier, which every machine has.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The names of all tiers that the program knows, whether this machine has them or not.
    pub const NAMES: [&'static str; 3] = ["portable", "avx2", "avx512"];

    /// The tiers that this machine has, lowest first.
    pub fn available() -> Vec<Self> {
        [Kind::Portable, Kind::Avx2, Kind::Avx512]
            .into_iter()
            .filter(|kind| supported(*kind))
            .map(Self)
            .collect()
    }

    /// The best tier that this machine has.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::PORTABLE)
    }

    /// The tier of that name, if this machine has it. Names are those of [`Tier::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|tier| tier.name() == name)
    }

    /// Its name, one of [`Tier::NAMES`].
    pub fn name(self) -> &'static str {
        Self::NAMES[self.0 as usize]
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
fn supported(kind: Kind) -> bool {
    let avx2 = || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
    };
    match kind {
        Kind::Portable => true,
        Kind::Avx2 => avx2(),
        Kind::Avx512 => {
            avx2()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512bf16")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn supported(kind: Kind) -> bool {
    kind == Kind::Portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_is_ordered_and_named() {
        let tiers = Tier::available();
        assert_eq!(tiers[0], Tier::PORTABLE);
        assert!(tiers.is_sorted());
        for tier in tiers {
            assert_eq!(Tier::named(tier.name()), Some(tier));
        }
        assert_eq!(Tier::named("sse9"), None);
    }
}
