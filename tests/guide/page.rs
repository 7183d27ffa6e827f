//! A page of the guide, read as its readers do: its sections, their commands and tables.

/// The text of one section, without the marks of a comment.
pub(crate) fn section(page: &str, heading: &str) -> String {
    let lines = page.lines().filter_map(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    let mut in_commands = false;
    let mut is_in = false;
    let mut text = String::new();
    for line in lines {
        if line.starts_with("```") {
            in_commands = !in_commands;
        }
        // A comment of a script is no heading.
        if !in_commands && let Some(other) = line.strip_prefix("# ") {
            is_in = other == heading;
            continue;
        }
        if is_in {
            text += line;
            text.push('\n');
        }
    }
    assert!(!text.is_empty(), "the page has no section `{heading}`");
    text
}

/// The shell scripts of a section, in their order.
pub(crate) fn scripts(page: &str, heading: &str) -> Vec<String> {
    let text = section(page, heading);
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// The rows of a section's first table whose header has this cell, without the header.
pub(crate) fn rows(page: &str, heading: &str, cell: &str) -> Vec<Vec<String>> {
    let text = section(page, heading);
    let is_row = |line: &&str| line.starts_with('|');
    let mut lines = text.lines();
    lines
        .find(|line| is_row(line) && line.contains(cell))
        .unwrap();
    // Below the header and its rule.
    let table = lines.skip(1).take_while(is_row);
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    table.map(cells).collect()
}
