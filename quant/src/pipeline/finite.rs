//! Infinities and NaN in what is written.
//!
//! Encoders of blocks refuse them; plain types would hold them, and so would what is copied. llama-quantize checks all
//! that it reads and writes in the same way.

use mdl_kernels::{KernelError, TensorType, Tier, codec};

/// Index of the first value that is no finite number. `values` is scratch space for types with blocks.
pub(super) fn first_not_finite(
    tier: Tier,
    ty: TensorType,
    bytes: &[u8],
    values: &mut Vec<f32>,
) -> Result<Option<usize>, KernelError> {
    Ok(match ty {
        TensorType::F32 => first(bytes, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
        TensorType::F16 => first(bytes, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        TensorType::BF16 => first(bytes, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        TensorType::F64 => first(bytes, |b| !f64::from_le_bytes(b).is_finite()),
        TensorType::I8 | TensorType::I16 | TensorType::I32 | TensorType::I64 => None,
        _ => {
            values.resize(bytes.len() / ty.block_bytes() * ty.block_len(), 0.0);
            codec::decode(tier, ty, bytes, values)?;
            values.iter().position(|value| !value.is_finite())
        }
    })
}

/// Looks at all of a group before it asks which one it was: the compiler makes vectors of that.
fn first<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const GROUP: usize = 1024;
    let (values, _) = bytes.as_chunks::<N>();
    values.chunks(GROUP).enumerate().find_map(|(index, group)| {
        let any = group.iter().fold(false, |any, value| any | bad(*value));
        let place = if any { group.iter().position(|value| bad(*value)) } else { None };
        place.map(|place| index * GROUP + place)
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    fn found(ty: TensorType, bytes: &[u8]) -> Option<usize> {
        first_not_finite(Tier::detect(), ty, bytes, &mut Vec::new()).unwrap()
    }

    #[test]
    fn the_first_bad_value_is_found_in_every_type() {
        for (bad, at) in [(f32::NAN, 0), (f32::INFINITY, 1023), (f32::NEG_INFINITY, 2050)] {
            let mut values = vec![f32::MAX; 3000];
            let mut small = vec![65504.0_f32; 3000];
            let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
            let halves = |values: &[f32]| {
                values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect::<Vec<u8>>()
            };
            let brains = |values: &[f32]| {
                values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect::<Vec<u8>>()
            };
            let doubles = |values: &[f32]| {
                values.iter().flat_map(|x| (f64::from(*x) * 1e9).to_le_bytes()).collect::<Vec<u8>>()
            };
            let all = |values: &[f32], small: &[f32]| {
                let plain: Vec<u8> = bytes(values);
                [
                    found(TensorType::F32, &plain),
                    found(TensorType::F64, &doubles(values)),
                    found(TensorType::F16, &halves(small)),
                    found(TensorType::BF16, &brains(small)),
                ]
            };
            assert_eq!(all(&values, &small), [None; 4]);
            values[at] = bad;
            small[at] = bad;
            assert_eq!(all(&values, &small), [Some(at); 4]);
        }
        assert_eq!(found(TensorType::I32, &[0xff; 64]), None);
        // Two blocks of Q8_0, the second with an infinite scale; its first code is not 0.
        let mut blocks = vec![1; 2 * 34];
        assert_eq!(found(TensorType::Q8_0, &blocks), None);
        blocks[34..36].copy_from_slice(&f16::INFINITY.to_le_bytes());
        assert_eq!(found(TensorType::Q8_0, &blocks), Some(32));
    }
}
