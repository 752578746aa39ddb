//! Every random choice of the test commands, drawn from the Antithesis SDK at the moment it is needed.
//! Nothing is kept between draws: a generator seeded from one draw would hide the choices from the platform.

use antithesis_sdk::random::{get_random, random_choice};

/// One of the items, each as likely.
///
/// # Panics
/// If there is none: callers pass literal, non-empty lists.
pub fn choice<T>(items: &[T]) -> &T {
    random_choice(items).expect("a list of choices is never empty")
}

/// A number in `low..=high`.
pub fn between(low: u64, high: u64) -> u64 {
    let width = high.saturating_sub(low).saturating_add(1);
    low + get_random() % width
}

/// An index into something of this length, which is at least 1.
pub fn index(length: usize) -> usize {
    usize::try_from(between(0, length.saturating_sub(1) as u64)).expect("below a usize")
}

/// One of the items, each as likely as its weight says; at least one weight is positive.
pub fn weighted<T>(items: &[(u64, T)]) -> &T {
    let all = items.iter().map(|(weight, _)| weight).sum::<u64>();
    let mut left = between(0, all.saturating_sub(1));
    for (weight, item) in items {
        if left < *weight {
            return item;
        }
        left -= weight;
    }
    unreachable!("a draw is less than the sum of the weights, which is positive")
}

/// True with this probability (0.0 to 1.0).
pub fn chance(probability: f64) -> bool {
    const STEPS: u32 = 1 << 24;
    if probability <= 0.0 {
        return false;
    }
    let draw = u32::try_from(get_random() % u64::from(STEPS)).expect("below 2^24");
    f64::from(draw) < probability * f64::from(STEPS)
}

/// This many characters of A–Z, a–z and 0–9.
pub fn alphanumeric(length: usize) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(*choice(ALPHABET))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds are inclusive, and both ends are reached.
    #[test]
    fn between_reaches_both_ends() {
        let draws: std::collections::BTreeSet<u64> = (0..500).map(|_| between(3, 6)).collect();
        assert_eq!(draws.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(between(9, 9), 9);
    }

    /// Items come as often as their weights say, those without weight never.
    #[test]
    fn weights_decide() {
        let items = [(0, 'a'), (1, 'b'), (3, 'c'), (0, 'd')];
        let drawn: Vec<char> = (0..2000).map(|_| *weighted(&items)).collect();
        let share = |item| drawn.iter().filter(|drawn| **drawn == item).count();
        assert_eq!(share('b') + share('c'), 2000);
        assert!((350..650).contains(&share('b')));
    }

    /// A probability of 0 never happens, 1 always does, and a half does about half the time.
    #[test]
    fn chance_follows_its_probability() {
        let hits = |probability| (0..2000).filter(|_| chance(probability)).count();
        assert_eq!((hits(0.0), hits(1.0)), (0, 2000));
        assert!((800..1200).contains(&hits(0.5)));
    }
}
