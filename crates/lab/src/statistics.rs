//! Pearson's chi-square test.

use statrs::distribution::{ChiSquared, ContinuousCDF as _};

/// Returns the statistic of counts against the shares that they are expected to have, and the
/// chance of one at least as large.
///
/// Counts whose share is 0 do not take part. `None` without counts, or with fewer than two shares.
pub(crate) fn chi_square(counts: &[u64], shares: &[f64]) -> Option<(f64, f64)> {
    let total = counts.iter().sum::<u64>() as f64;
    let cells: Vec<_> = counts.iter().zip(shares).filter(|&(_, &share)| share > 0.0).collect();
    let statistic: f64 = cells
        .iter()
        .map(|&(&count, &share)| (count as f64 - total * share).powi(2) / (total * share))
        .sum();
    let distribution = ChiSquared::new(cells.len().checked_sub(1)? as f64).ok()?;
    (total > 0.0).then(|| (statistic, distribution.sf(statistic)))
}
