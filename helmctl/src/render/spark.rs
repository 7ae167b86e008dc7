//! Curves in characters.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One line, `values` scaled between their lowest and highest; a gap is a blank.
pub(crate) fn line(values: &[Option<f64>]) -> String {
    let (low, high) = bounds(values);
    values.iter().map(|value| value.map_or(' ', |v| BARS[level(v, low, high, BARS.len())])).collect()
}

/// One line from nothing to the highest, which counts as `least` at least: what is calm looks calm.
pub(crate) fn scaled(values: &[Option<f64>], least: f64) -> String {
    let high = bounds(values).1.max(least);
    values.iter().map(|value| value.map_or(' ', |v| BARS[level(v, 0.0, high, BARS.len())])).collect()
}

/// A chart of `height` lines from nothing (or the lowest, below that) to the highest, top line first.
pub(crate) fn chart(values: &[Option<f64>], height: usize) -> Vec<String> {
    let (low, high) = bounds(values);
    let low = low.min(0.0);
    let steps = height * BARS.len();
    let row = |row: usize| {
        let base = (height - 1 - row) * BARS.len();
        let bar = |value: &Option<f64>| {
            let Some(value) = value else { return ' ' };
            // Whatever was measured is to be seen: nothing is a line at the bottom.
            match level(*value, low, high, steps).checked_sub(base) {
                Some(over) => BARS[over.min(BARS.len() - 1)],
                None => ' ',
            }
        };
        values.iter().map(bar).collect()
    };
    (0..height).map(row).collect()
}

/// Lowest and highest; nothing where there are no values.
pub(crate) fn bounds(values: &[Option<f64>]) -> (f64, f64) {
    let (low, high) = values
        .iter()
        .flatten()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    if low <= high { (low, high) } else { (0.0, 0.0) }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part between 0 and 1 of a few dozen levels"
)]
fn level(value: f64, low: f64, high: f64, levels: usize) -> usize {
    if high <= low {
        return 0;
    }
    let part = ((value - low) / (high - low)).clamp(0.0, 1.0);
    ((part * levels as f64) as usize).min(levels - 1)
}

/// Points on a time axis of `width` columns from `from` to `to`: the average of what falls into a column. Where columns are narrower than the
/// points lie apart, a point stands up to the next one; where points are missing, there is a gap.
pub(crate) fn columns(points: &[(i64, f64)], from: i64, to: i64, width: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0.0); width];
    let span = i128::from(to.saturating_sub(from).max(1));
    let column = |at: i64| {
        let column = i128::from(at.saturating_sub(from)) * i128::try_from(width).unwrap_or(1) / span;
        usize::try_from(column).ok().filter(|column| *column < width)
    };
    for (at, value) in points {
        if let Some((sum, count)) = column(*at).and_then(|column| sums.get_mut(column)) {
            *sum += value;
            *count += 1.0;
        }
    }
    let mut columns: Vec<Option<f64>> =
        sums.into_iter().map(|(sum, count)| (count > 0.0).then(|| sum / count)).collect();
    let usual = usual_distance(points);
    for pair in points.windows(2) {
        let [(at, value), (next, _)] = pair else { continue };
        let (Some(first), Some(end)) = (column(*at), column(*next)) else { continue };
        if next.saturating_sub(*at) <= usual.saturating_mul(2) {
            columns.iter_mut().take(end).skip(first + 1).for_each(|column| *column = Some(*value));
        }
    }
    columns
}

/// How far most points lie apart.
fn usual_distance(points: &[(i64, f64)]) -> i64 {
    let mut all: Vec<i64> = points.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).collect();
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_charts() {
        let values = [Some(0.0), Some(7.0), None, Some(3.5)];
        assert_eq!(line(&values), "▁█ ▅");
        assert_eq!(line(&[Some(5.0), Some(5.0)]), "▁▁", "what does not move");
        assert_eq!(scaled(&values, 14.0), "▁▅ ▃");
        assert_eq!(chart(&values, 2), [" █ ▁", "▁█ █"]);
        assert_eq!(bounds(&[None]), (0.0, 0.0));
    }

    #[test]
    fn columns_are_times_and_gaps_stay() {
        let points = [(0, 1.0), (1, 3.0), (25, 5.0), (26, 9.0), (40, 9.0)];
        assert_eq!(columns(&points, 0, 40, 4), [Some(2.0), None, Some(7.0), None]);
        let few = [(0, 1.0), (10, 2.0), (20, 3.0), (70, 4.0)];
        let want: Vec<Option<f64>> =
            "11223---------4-".chars().map(|c| c.to_digit(10).map(f64::from)).collect();
        assert_eq!(columns(&few, 0, 80, 16), want);
    }
}
