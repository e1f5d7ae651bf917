//! For tests that compare the tables in doc comments with the code that they document.

/// The rows of the first table whose heading starts with this, each as its cells.
pub(crate) fn rows<'a>(source: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let lines = source.lines().map(|line| line.trim_start().trim_start_matches("///").trim());
    let table = lines.skip_while(|line| !line.starts_with(heading)).take_while(|line| line.starts_with('|'));
    let cells = |row: &'a str| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    table.skip(2).map(cells).collect()
}

/// The variants and names in the match of this function, which is a method: `Self::TokenExpired => "token_expired",`.
pub(crate) fn names<'a>(source: &'a str, function: &str) -> Vec<(&'a str, &'a str)> {
    let body = source.lines().skip_while(|line| !line.contains(function)).take_while(|line| *line != "    }");
    let arms = body.filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" => \""));
    let variant = |pattern: &'a str| pattern.trim_end_matches(" { .. }").rsplit("::").next().unwrap_or_default();
    arms.map(|(pattern, name)| (variant(pattern), name)).collect()
}
