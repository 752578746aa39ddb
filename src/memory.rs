//! What becomes of memory that is no longer needed. Nothing goes in and nothing comes out: glibc's allocator is shown
//! what this program is about, by what it learns from anyway. It must not touch memory, nor depend on the allocator.

use std::{hint::black_box, sync::Once};

/// A piece of memory, in bytes, nearly as large as those by which glibc changes its ways: below 32 MB, with what it adds.
const LARGEST: usize = (32 << 20) - 8192;

/// Lets the allocator keep what is freed, up to 64 MB, for what is asked of it next. Otherwise pieces from 128 KB on
/// come from the system and go back to it, one by one, and each page of them costs twice as much as to fill it.
///
/// glibc asks the system for no piece that is smaller than one which it once had to give back, and keeps twice as much
/// (`mallopt(3)`, `M_MMAP_THRESHOLD`). So one piece is asked for and given back, of which no page is ever touched.
/// Other allocators do no more than that.
pub fn keep_freed() {
    static SHOWN: Once = Once::new();
    SHOWN.call_once(|| drop(black_box(Vec::<u8>::with_capacity(LARGEST))));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The pages that this thread had to be given so far.
    fn pages() -> u64 {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    #[cfg_attr(not(target_env = "gnu"), ignore = "other allocators have ways of their own")]
    fn what_was_freed_is_used_again() {
        keep_freed();
        let fill = || drop(black_box(vec![1_u8; 8 << 20]));
        fill();
        let before = pages();
        fill();
        assert!(pages() - before < 200, "{} pages of 2,048", pages() - before);
    }
}
