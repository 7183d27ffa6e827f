use super::{Trigger, asked::Asked};

#[test]
fn the_first_of_the_reasons_that_count_most_is_told() {
    for [first, second] in [
        [Trigger::Timer, Trigger::Change],
        [Trigger::UnknownKey, Trigger::Refused],
        [Trigger::Manual, Trigger::Signal],
    ] {
        let mut asked = Asked::<()>::new();
        asked.want(Trigger::Timer);
        asked.want(first);
        asked.want(second);
        asked.want(Trigger::Timer);
        assert_eq!(asked.begin(), Some(first));
        assert_eq!(asked.begin(), None);
    }
}
