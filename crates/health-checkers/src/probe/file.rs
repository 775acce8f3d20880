//! keepalived's `FILE_CHECK`: the number in a file takes a server out of use or changes its weight.
//!
//! Nothing is tried, so this is no [`Probe`](super::Probe): whoever watches the file says what it holds.

/// What messages call a check by a file.
pub const KIND: &str = "FILE_CHECK";

/// A number times the weight of its file that is not higher takes the server out of use.
const LOWEST: i64 = i32::MIN as i64;

/// What the number in a file does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// What the number is multiplied with; with 0, any number but 0 takes the server out of use.
    pub weight: i32,
    /// The effect is turned round.
    pub reverse: bool,
}

impl File {
    /// What `number` adds to the weight of the server, negative to take away; `None` when it takes the server out of use.
    #[must_use]
    pub fn judge(self, number: i64) -> Option<i64> {
        if self.weight == 0 {
            let is_up = (number == 0) != self.reverse;
            return is_up.then_some(0);
        }
        let product = number.saturating_mul(self.weight.into());
        let adds = if self.reverse { product.saturating_neg() } else { product };
        (adds > LOWEST).then_some(adds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_as_often_as_its_weight() {
        let judge = |weight, reverse, number| File { weight, reverse }.judge(number);
        assert_eq!([5, 0, -20].map(|number| judge(2, false, number)), [Some(10), Some(0), Some(-40)]);
        assert_eq!([5, 0, -20].map(|number| judge(-2, false, number)), [Some(-10), Some(0), Some(40)]);
        assert_eq!([5, 0, -20].map(|number| judge(2, true, number)), [Some(-10), Some(0), Some(40)]);
    }

    #[test]
    fn without_a_weight_a_number_takes_the_server_out() {
        let judge = |reverse, number| File { weight: 0, reverse }.judge(number);
        assert_eq!([0, 1, -1, i64::MIN].map(|number| judge(false, number)), [Some(0), None, None, None]);
        assert_eq!([0, 1, -1].map(|number| judge(true, number)), [None, Some(0), Some(0)]);
    }

    #[test]
    fn a_product_that_is_too_low_takes_the_server_out() {
        let judge = |weight, number| File { weight, reverse: false }.judge(number);
        let lowest = i64::from(i32::MIN);
        assert_eq!(judge(1, lowest + 1), Some(lowest + 1));
        assert_eq!([lowest, i64::MIN].map(|number| judge(1, number)), [None, None]);
        assert_eq!([1 << 31, i64::MAX].map(|number| judge(-1, number)), [None, None]);
        assert_eq!(
            [i64::MAX, i64::MIN].map(|number| File { weight: 9, reverse: true }.judge(number)),
            [None, Some(i64::MAX)]
        );
    }
}
