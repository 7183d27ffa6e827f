//! Rewrites source files so that every mutant in a list is there at once, each behind a switch.
//!
//! `cargo mutants` builds the crate once for each of its mutants, which takes days for a few thousand of them.
//! It can print its list, though. This program takes that list and puts `crate::mutant::is(N)` where mutant N
//! is, so that one build has them all and an environment variable chooses. `run`, beside this package, does
//! the rest.
//!
//! A switch is made of insertions alone: before and after an expression, or at the begin of a body. Copies of
//! operands in a mutated branch have no switches of their own, because only one mutant is on at a time.

use std::{collections::HashMap, env, error::Error, fs, ops::Range, path::Path};

use serde::{Deserialize, Serialize};
use syn::{
    BinOp, Block, Expr, ExprStruct, Member, ReturnType, Signature, Type, UnOp,
    spanned::Spanned,
    visit::{self, Visit},
};

/// As `cargo mutants --list --json` prints it.
#[derive(Deserialize)]
struct Mutant {
    file: String,
    span: Lines,
    replacement: String,
    genre: String,
}

#[derive(Deserialize)]
struct Lines {
    start: LineColumn,
}

#[derive(Deserialize)]
struct LineColumn {
    line: usize,
    column: usize,
}

/// What became of the list, for `run` to tell whose fault an error of the compiler is.
#[derive(Default, Serialize)]
struct Report {
    switches: Vec<Switch>,
    /// Each mutant that has none, and why.
    not_switched: HashMap<usize, &'static str>,
}

/// Where a mutant is in the rewritten file, in bytes.
#[derive(Serialize)]
struct Switch {
    mutant: usize,
    file: String,
    /// What runs only while it is on.
    branch: Range<usize>,
    /// All that its switch is around.
    whole: Range<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [list, without, from, to] = arguments.as_slice() else {
        return Err("usage: MUTANTS.json WITHOUT.json FROM TO".into());
    };
    let mutants: Vec<Mutant> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let without: Vec<usize> = serde_json::from_str(&fs::read_to_string(without)?)?;
    let mut files: HashMap<&str, Vec<usize>> = HashMap::new();
    for (id, mutant) in mutants.iter().enumerate() {
        files.entry(&mutant.file).or_default().push(id);
    }
    let mut report = Report::default();
    for (file, ids) in files {
        let source = fs::read_to_string(Path::new(from).join(file))?;
        let mut rewriter = Rewriter::new(&source, &mutants, &ids, &without)?;
        rewriter.visit_file(&syn::parse_file(&source)?);
        let rewritten = rewriter.finish(file, &mut report);
        let path = Path::new(to).join(file);
        // An unchanged file is not compiled again.
        if fs::read_to_string(&path).ok().as_ref() != Some(&rewritten) {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, rewritten)?;
        }
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Rewriter<'a> {
    source: &'a str,
    mutants: &'a [Mutant],
    /// By genre and where they begin.
    left: HashMap<(&'a str, usize), Vec<usize>>,
    insertions: Vec<Insertion>,
    not_switched: HashMap<usize, &'static str>,
    /// In an expression that the compiler evaluates.
    in_const: bool,
}

#[derive(Default)]
struct Insertion {
    at: usize,
    text: String,
    /// Which part of the text runs only while a mutant is on.
    branches: Vec<(usize, Range<usize>)>,
    is_end: bool,
}

impl Insertion {
    fn branch(&mut self, mutant: usize, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.branches.push((mutant, start..self.text.len()));
    }
}

impl<'a> Rewriter<'a> {
    fn new(
        source: &'a str,
        mutants: &'a [Mutant],
        ids: &[usize],
        without: &[usize],
    ) -> Result<Self, Box<dyn Error>> {
        let lines: Vec<&str> = source.split_inclusive('\n').collect();
        let mut left: HashMap<_, Vec<usize>> = HashMap::new();
        for id in ids.iter().filter(|id| !without.contains(id)) {
            let LineColumn { line, column } = mutants[*id].span.start;
            let before: usize = lines[..line - 1].iter().map(|it| it.len()).sum();
            let chars = lines
                .get(line - 1)
                .ok_or("the list is of another source")?
                .chars();
            let in_line: usize = chars.take(column - 1).map(char::len_utf8).sum();
            left.entry((mutants[*id].genre.as_str(), before + in_line))
                .or_default()
                .push(*id);
        }
        Ok(Self {
            source,
            mutants,
            left,
            insertions: Vec::new(),
            not_switched: HashMap::new(),
            in_const: false,
        })
    }

    /// The mutants of this genre that begin here, where they can have a switch.
    fn take(&mut self, genre: &'static str, at: usize) -> Vec<usize> {
        let found = self.left.remove(&(genre, at)).unwrap_or_default();
        if self.in_const {
            return self.refuse(found, "in a constant");
        }
        found
    }

    fn refuse(&mut self, mutants: Vec<usize>, why: &'static str) -> Vec<usize> {
        self.not_switched
            .extend(mutants.into_iter().map(|it| (it, why)));
        Vec::new()
    }

    fn text(&self, node: &impl Spanned) -> &'a str {
        &self.source[node.span().byte_range()]
    }

    /// `else` the original, which lies between `before` and what closes it.
    fn around(
        &mut self,
        range: Range<usize>,
        mutants: &[usize],
        before: &str,
        branch: impl Fn(&Self, usize) -> String,
    ) {
        let Some(_) = mutants.first() else { return };
        let mut start = Insertion {
            at: range.start,
            text: format!("{before}("),
            ..Insertion::default()
        };
        for id in mutants {
            start
                .text
                .push_str(&format!("if crate::mutant::is({id}) {{ "));
            start.branch(*id, &branch(self, *id));
            start.text.push_str(" } else ");
        }
        start.text.push_str("{ ");
        let end = Insertion {
            at: range.end,
            text: " })".into(),
            is_end: true,
            ..Insertion::default()
        };
        self.insertions.extend([start, end]);
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        let Some(first) = block.stmts.first() else {
            return;
        };
        let at = first.span().byte_range().start;
        let found = self.take("FnValue", at);
        let is_opaque = matches!(&signature.output, ReturnType::Type(_, it) if matches!(**it, Type::ImplTrait(_)));
        if is_opaque {
            return self.iterator(at, block, found);
        }
        let mut insertion = Insertion {
            at,
            ..Insertion::default()
        };
        for id in found {
            insertion
                .text
                .push_str(&format!("if crate::mutant::is({id}) {{ "));
            insertion.branch(id, &format!("return {};", self.mutants[id].replacement));
            insertion.text.push_str(" } ");
        }
        self.insertions.push(insertion);
    }

    /// Both outcomes have to be of one type where it has no name: the original is emptied.
    fn iterator(&mut self, at: usize, block: &Block, found: Vec<usize>) {
        let start = Insertion {
            at,
            text: "let mutated = { ".into(),
            ..Insertion::default()
        };
        let mut end = Insertion {
            at: block.span().byte_range().end - 1,
            is_end: true,
            ..Insertion::default()
        };
        end.text.push_str("}; mutated");
        for id in &found {
            let filter = format!(".filter(move |_| !crate::mutant::is({id}))");
            end.text.push_str(&filter);
        }
        for id in found {
            let replacement = self.mutants[id].replacement.replace(' ', "");
            let Some(items) = replacement.strip_prefix("::std::iter::") else {
                self.not_switched
                    .insert(id, "returns a type without a name");
                continue;
            };
            let item = items
                .strip_prefix("once(")
                .and_then(|it| it.strip_suffix(")"));
            let chain = |item| format!(".chain(crate::mutant::is({id}).then(|| {item}))");
            end.branch(id, &item.map_or(String::new(), chain));
        }
        if !end.branches.is_empty() {
            self.insertions.extend([start, end]);
        }
    }

    fn within_const(&mut self, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.in_const, true);
        visit(self);
        self.in_const = before;
    }

    fn function(&mut self, signature: &Signature, block: &Block, visit: impl FnOnce(&mut Self)) {
        let first = block.stmts.first().map(|it| it.span().byte_range().start);
        let is_mutated = first.is_some_and(|at| self.left.contains_key(&("FnValue", at)));
        if let Some(token) = signature.constness.filter(|_| is_mutated) {
            // It cannot ask. Where a constant calls it, the compiler will say so.
            let Range { start, end } = token.span.byte_range();
            let comment = |at, text: &str| Insertion {
                at,
                text: text.into(),
                ..Insertion::default()
            };
            self.insertions
                .extend([comment(start, "/* "), comment(end, " */")]);
        }
        let is_const = signature.constness.is_some() && !is_mutated;
        let before = std::mem::replace(&mut self.in_const, is_const);
        self.body(signature, block);
        visit(self);
        self.in_const = before;
    }

    /// The new text, and where in it everything is.
    fn finish(mut self, file: &str, report: &mut Report) -> String {
        for (_, ids) in std::mem::take(&mut self.left) {
            self.refuse(ids, "not found");
        }
        report.not_switched.extend(self.not_switched);
        // They come from the outside to the inside, so the ends of one place are in the reverse order.
        let mut order: Vec<usize> = (0..self.insertions.len()).collect();
        let key = |index: &usize| {
            let it = &self.insertions[*index];
            let index = isize::try_from(*index).unwrap_or_default();
            (it.at, !it.is_end, if it.is_end { -index } else { index })
        };
        order.sort_by_key(key);
        let mut rewritten = String::new();
        let mut starts = vec![0; self.insertions.len()];
        let mut copied = 0;
        for index in order {
            let insertion = &self.insertions[index];
            rewritten.push_str(&self.source[copied..insertion.at]);
            copied = insertion.at;
            starts[index] = rewritten.len();
            rewritten.push_str(&insertion.text);
        }
        rewritten.push_str(&self.source[copied..]);
        for (index, insertion) in self.insertions.iter().enumerate() {
            // What begins a switch stands directly before what ends it.
            let ends = self.insertions.get(index + 1).is_some_and(|it| it.is_end);
            let end = if ends { index + 1 } else { index };
            let first = if insertion.is_end { index - 1 } else { index };
            let whole = starts[first]..starts[end] + self.insertions[end].text.len();
            for (mutant, range) in &insertion.branches {
                report.switches.push(Switch {
                    mutant: *mutant,
                    file: file.to_owned(),
                    branch: starts[index] + range.start..starts[index] + range.end,
                    whole: whole.clone(),
                });
            }
        }
        rewritten
    }
}

/// Whether it binds something for what comes after it, which no parenthesis may part from it.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(it) => has_let(&it.left) || has_let(&it.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Rewriter<'_> {
    fn visit_item_fn(&mut self, it: &'ast syn::ItemFn) {
        self.function(&it.sig, &it.block, |own| visit::visit_item_fn(own, it));
    }

    fn visit_impl_item_fn(&mut self, it: &'ast syn::ImplItemFn) {
        self.function(&it.sig, &it.block, |own| visit::visit_impl_item_fn(own, it));
    }

    fn visit_trait_item_fn(&mut self, it: &'ast syn::TraitItemFn) {
        let Some(block) = &it.default else { return };
        self.function(&it.sig, block, |own| visit::visit_trait_item_fn(own, it));
    }

    fn visit_expr_binary(&mut self, it: &'ast syn::ExprBinary) {
        let mut found = self.take("BinaryOperator", it.op.span().byte_range().start);
        if matches!(it.op, BinOp::And(_)) && (has_let(&it.left) || has_let(&it.right)) {
            found = self.refuse(found, "in a let chain");
        }
        let (left, right) = (self.text(&it.left), self.text(&it.right));
        self.around(it.span().byte_range(), &found, "", |own, id| {
            format!("({left}) {} ({right})", own.mutants[id].replacement)
        });
        visit::visit_expr_binary(self, it);
    }

    fn visit_expr_unary(&mut self, it: &'ast syn::ExprUnary) {
        if matches!(it.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let found = self.take("UnaryOperator", it.op.span().byte_range().start);
            let operand = self.text(&it.expr);
            self.around(it.span().byte_range(), &found, "", |_, _| {
                operand.to_owned()
            });
        }
        visit::visit_expr_unary(self, it);
    }

    fn visit_arm(&mut self, it: &'ast syn::Arm) {
        for id in self.take("MatchArm", it.span().byte_range().start) {
            let mut insertion = Insertion {
                at: it.pat.span().byte_range().end,
                ..Insertion::default()
            };
            insertion.branch(id, &format!(" if !crate::mutant::is({id})"));
            self.insertions.push(insertion);
        }
        if let Some((_, guard)) = &it.guard {
            let found = self.take("MatchArmGuard", guard.span().byte_range().start);
            self.around(guard.span().byte_range(), &found, "", |own, id| {
                own.mutants[id].replacement.clone()
            });
        }
        visit::visit_arm(self, it);
    }

    fn visit_expr_struct(&mut self, it: &'ast ExprStruct) {
        for field in &it.fields {
            let found = self.take("StructField", field.span().byte_range().start);
            let (Some(rest), Member::Named(name)) = (&it.rest, &field.member) else {
                continue;
            };
            let (path, rest) = (self.text(&it.path), self.text(rest));
            let is_short = field.colon_token.is_none();
            let before = if is_short {
                format!("{name}: ")
            } else {
                String::new()
            };
            self.around(field.expr.span().byte_range(), &found, &before, |_, _| {
                format!("let rest: {path} = {rest}; rest.{name}")
            });
        }
        visit::visit_expr_struct(self, it);
    }

    fn visit_item_const(&mut self, it: &'ast syn::ItemConst) {
        self.within_const(|own| visit::visit_item_const(own, it));
    }

    fn visit_item_static(&mut self, it: &'ast syn::ItemStatic) {
        self.within_const(|own| visit::visit_item_static(own, it));
    }

    fn visit_impl_item_const(&mut self, it: &'ast syn::ImplItemConst) {
        self.within_const(|own| visit::visit_impl_item_const(own, it));
    }

    fn visit_trait_item_const(&mut self, it: &'ast syn::TraitItemConst) {
        self.within_const(|own| visit::visit_trait_item_const(own, it));
    }

    fn visit_type_array(&mut self, it: &'ast syn::TypeArray) {
        self.within_const(|own| visit::visit_type_array(own, it));
    }

    fn visit_expr_repeat(&mut self, it: &'ast syn::ExprRepeat) {
        self.visit_expr(&it.expr);
        self.within_const(|own| own.visit_expr(&it.len));
    }

    fn visit_expr_const(&mut self, it: &'ast syn::ExprConst) {
        self.within_const(|own| visit::visit_expr_const(own, it));
    }

    fn visit_pat(&mut self, it: &'ast syn::Pat) {
        self.within_const(|own| visit::visit_pat(own, it));
    }
}
