//! Numbers about numbers.

/// Distribution of some values, such as the [gaps](super::Anatomy::gaps) of a ring.
///
/// ```
/// use onionweave_ring::v2::anatomy::Summary;
///
/// let summary = Summary::new([4.0, 1.0, 3.0, 2.0]).expect("there are values");
/// assert_eq!((summary.min(), summary.median(), summary.max()), (1.0, 2.5, 4.0));
/// assert_eq!((summary.count(), summary.mean(), summary.gini()), (4, 2.5, 0.25));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Not empty, ascending.
    values: Vec<f64>,
}

impl Summary {
    /// Of these values; `None` if there are none.
    ///
    /// ```
    /// use onionweave_ring::v2::anatomy::Summary;
    ///
    /// assert_eq!(Summary::new([]), None);
    /// ```
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self { values })
    }

    /// Number of values.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// assert_eq!(Summary::new([0.5]).map(|summary| summary.count()), Some(1));
    /// ```
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The smallest value.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// assert_eq!(Summary::new([2.0, 1.0]).map(|summary| summary.min()), Some(1.0));
    /// ```
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The value in the middle.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// assert_eq!(Summary::new([9.0, 1.0, 2.0]).map(|summary| summary.median()), Some(2.0));
    /// ```
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The largest value.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// assert_eq!(Summary::new([2.0, 1.0]).map(|summary| summary.max()), Some(2.0));
    /// ```
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// The value below which so much of all values lies: 0.0 asks for the smallest, 1.0 for the
    /// largest. Between two values, it is as far from one to the other as the place is.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// let summary = Summary::new([10.0, 20.0, 30.0]).expect("there are values");
    /// assert_eq!(summary.quantile(0.25), 15.0);
    /// ```
    pub fn quantile(&self, fraction: f64) -> f64 {
        let last = self.values.len() - 1;
        let place = fraction.clamp(0.0, 1.0) * last as f64;
        let value = |index: usize| self.values.get(index.min(last)).copied().unwrap_or(f64::NAN);
        let (below, above) = (value(place.floor() as usize), value(place.ceil() as usize));
        below + (above - below) * place.fract()
    }

    /// The mean.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// assert_eq!(Summary::new([1.0, 2.0, 6.0]).map(|summary| summary.mean()), Some(3.0));
    /// ```
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// The Gini coefficient of values that are not negative: 0 if all are equal, close to 1 if one
    /// has it all.
    ///
    /// On a ring of directories with random fingerprints it is 1/2 for gaps, and 5/16 for duties.
    ///
    /// ```
    /// # use onionweave_ring::v2::anatomy::Summary;
    /// assert_eq!(Summary::new([1.0, 1.0]).map(|summary| summary.gini()), Some(0.0));
    /// assert_eq!(Summary::new([0.0, 1.0]).map(|summary| summary.gini()), Some(0.5));
    /// ```
    pub fn gini(&self) -> f64 {
        let (mut sum, mut sum_by_rank) = (0.0, 0.0);
        for (rank, value) in (1..).zip(&self.values) {
            sum += value;
            sum_by_rank += f64::from(rank) * value;
        }
        let count = self.values.len() as f64;
        2.0 * sum_by_rank / (count * sum) - (count + 1.0) / count
    }
}
