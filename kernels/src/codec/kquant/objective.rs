//! What the searches minimise: Σ w(x − x̂)², and here w is made. The one place to change if another
//! objective proves better for models.

use super::BLOCK;

/// The share that the sub-blocks without any weight get, so that they too are fitted.
const UNSEEN: f32 = 1.0 / 1_048_576.0;

/// The weights of one super-block with sub-blocks of `N`: those of its columns over their mean.
///
/// Without weights, or where all in the super-block are zero, every value counts the same.
#[inline(always)]
pub(super) fn weights<const N: usize>(
    _values: &[f32; BLOCK],
    columns: Option<&[f32; BLOCK]>,
) -> [f32; BLOCK] {
    let Some(columns) = columns else { return [1.0; BLOCK] };
    // Divided by the largest first: any finite weights then have a finite sum.
    let largest = columns.iter().fold(0.0f32, |max, w| if *w > max { *w } else { max });
    if largest < f32::MIN_POSITIVE {
        return [1.0; BLOCK];
    }
    let mut out = columns.map(|w| w / largest);
    let sum = out.iter().fold(0.0, |sum, w| sum + w);
    let scale = BLOCK as f32 / sum;
    for weights in out.as_chunks_mut::<N>().0 {
        let seen = weights.iter().any(|w| *w > 0.0);
        for weight in weights {
            *weight = if seen { *weight * scale } else { UNSEEN };
        }
    }
    out
}
