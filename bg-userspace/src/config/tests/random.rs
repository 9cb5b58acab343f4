//! Texts, files and values at random.

use std::time::Duration;

use super::*;

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        drop(read(&text));
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        at in 0_usize..1000, length in 0_usize..40, new in "[\\[\\]{}\"'=.#\\n a-z0-9\u{e4}-]{0,12}",
    ) {
        let text = Config::example();
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + length).min(text.len()));
        let text = format!("{}{new}{}", &text[..start], &text[end..]);
        if let Err(error) = read(&text) {
            let lines = text.lines().count() + 1;
            proptest::prop_assert!(!error.problems().is_empty());
            proptest::prop_assert!(error.problems().iter().all(|p| (1..=lines).contains(&p.line)));
        }
    }

    #[test]
    fn next_prime_is_the_next_prime(number in 0_u32..200_000) {
        let prime = value::next_prime(number);
        proptest::prop_assert!(prime >= number && value::is_prime(prime));
        proptest::prop_assert!((number..prime).all(|n| !value::is_prime(n)));
    }

    #[test]
    fn durations_are_read_as_they_are_shown(millis in 1_u64..3_600_000) {
        let duration = Duration::from_millis(millis);
        let (text, _) = with_line(DRAIN, &format!("deadline = \"{}\"", humantime::format_duration(duration)));
        proptest::prop_assert_eq!(read(&text).unwrap().deployments["shop"].drain.deadline, Some(duration));
    }
}
