//! The figures in the README and in `guide::performance` are those of one run.

use crate::page;

const README: &str = include_str!("../../README.md");
const PAGE: &str = include_str!("../../src/guide/performance.rs");

#[test]
fn the_figures_of_the_page_are_those_of_the_readme() {
    // Wherever the lines break.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, speed) = README.split_once("\n## Speed\n").unwrap();
    let (figures, _) = speed.split_once("\nA token of the previous key").unwrap();
    let figures = words(figures);
    assert!(figures.contains("| the signature check alone"), "{figures}");
    assert_eq!(words(&page::section(PAGE, "Figures")), figures);
}
