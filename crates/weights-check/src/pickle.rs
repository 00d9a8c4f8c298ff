//! A dry run of a pickle: which names it uses, and what its objects would cost.
//!
//! A pickle is a program for a machine with a stack and a memo. The run here has the same stack with estimates in
//! place of objects, so it takes memory and time by the length of the pickle and not by what the pickle makes of it: a
//! reader copies a whole tree where the pickle refers to one, here it is a number that is added. Opcodes are those of
//! Python's `pickletools` (protocols 0 to 5).

use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use crate::{
    MAX_NESTING, MAX_OBJECT_BYTES, MAX_PICKLE_BYTES, MAX_TENSORS, MAX_TEXT_BYTES, Refused, bound,
    cut,
};

/// What one object takes besides its text: entries of stack and memo, of a dictionary with room to grow.
const OBJECT_BYTES: u64 = 256;

/// What a place in a list adds to a tensor's name at most: the digits of an index, and a dot.
const INDEX_CHARACTERS: u64 = 21;

/// The longest name of a module, function or class that is compared with the list.
const MAX_GLOBAL_BYTES: usize = 100;

/// What `torch.save` names in a file of tensors: the calls that make tensors of storages, the kinds of storages and
/// numbers, and the containers around them. `torch.load(weights_only=True)` allows these, too, and more.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("collections", &["OrderedDict"]),
    (
        "torch._utils",
        &[
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
        ],
    ),
    ("torch._tensor", &["_rebuild_from_type_v2"]),
    ("torch.nn.parameter", &["Parameter"]),
    ("torch.storage", &["UntypedStorage", "TypedStorage"]),
    ("builtins", &["set", "frozenset"]),
    // The name of `builtins` in Python 2, which protocols 0 to 2 write.
    ("__builtin__", &["set", "frozenset"]),
];

/// What they name of `torch` itself: storages end in `Storage`.
const ALLOWED_OF_TORCH: [&str; 24] = [
    "Size",
    "Tensor",
    "device",
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "short",
    "int32",
    "int",
    "int64",
    "long",
    "float16",
    "half",
    "bfloat16",
    "float32",
    "float",
    "float64",
    "double",
    "contiguous_format",
    "strided",
];
const STORAGES: [&str; 11] = [
    "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool",
    "Untyped",
];

/// Runs one pickle and leaves the reader behind its end.
///
/// The reader may give [`MAX_PICKLE_BYTES`] and one more: whoever needs that one is too long.
///
/// # Errors
///
/// [`Refused::Global`], [`Refused::Bound`], [`Refused::Format`]
pub(crate) fn check(reader: &mut impl Read) -> Result<(), Refused> {
    Machine { reader, read: 0, cost: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
        .run()
}

/// An object of the pickle, by what it would cost.
#[derive(Debug, Clone, Default)]
struct Object {
    /// Its memory, with all that lies in it.
    bytes: u64,
    /// Levels of containers.
    nesting: u32,
    /// Storages in it, and so tensors at most.
    tensors: u64,
    /// Characters of the longest path to a tensor in it.
    name: u64,
    /// Itself, if it is a short text.
    text: Option<Rc<str>>,
    /// Where the memo has it. Its state, when it gets one, is then set there, too.
    memo: Option<u32>,
}

impl Object {
    fn of_bytes(bytes: u64) -> Self {
        Self { bytes: bytes.saturating_add(OBJECT_BYTES), ..Self::default() }
    }

    fn of_text(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_GLOBAL_BYTES);
        // If it is the key of a tensor, the tensor's name has it.
        let name = bytes.len() as u64;
        Self { name, text: text.map(Into::into), ..Self::of_bytes(name) }
    }

    /// This one with more in it, one level deeper than the deepest.
    fn with(mut self, items: impl IntoIterator<Item = Self>) -> Self {
        // A key and the value beside it may both have a name.
        let (mut longest, mut second) = (0, 0);
        for item in items {
            self.bytes = self.bytes.saturating_add(item.bytes);
            self.nesting = self.nesting.max(item.nesting + 1);
            self.tensors = self.tensors.saturating_add(item.tensors);
            (longest, second) = match item.name {
                name if name > longest => (name, longest),
                name => (longest, second.max(name)),
            };
        }
        let name = longest.saturating_add(second).saturating_add(INDEX_CHARACTERS);
        self.name = self.name.max(name);
        self.text = None;
        self.memo = None;
        self
    }
}

struct Machine<'a, R> {
    reader: &'a mut R,
    /// Bytes read so far.
    read: u64,
    /// Bytes of all objects made so far, also of those that are gone.
    cost: u64,
    stack: Vec<Object>,
    /// Heights of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Object>,
}

impl<R: Read> Machine<'_, R> {
    fn run(mut self) -> Result<(), Refused> {
        loop {
            let [opcode] = self.bytes()?;
            match opcode {
                b'.' => break,
                // The protocol, the length of a frame.
                0x80 => {
                    let [_] = self.bytes()?;
                }
                0x95 => {
                    let [_, _, _, _, _, _, _, _] = self.bytes()?;
                }

                // None, true, false, an empty tuple, list, dictionary, set.
                b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.push(Object::of_bytes(0))?,
                // Numbers and texts on a line: integer, long, float, Unicode.
                b'I' | b'L' | b'F' => {
                    let line = self.line()?;
                    self.push(Object::of_bytes(line.len() as u64))?;
                }
                b'V' => {
                    let line = self.line()?;
                    // Four or eight digits may be one character, never more than it has digits.
                    self.push(Object::of_text(&line))?;
                }
                b'K' => {
                    let [_] = self.bytes()?;
                    self.push(Object::of_bytes(0))?;
                }
                b'M' => {
                    let [_, _] = self.bytes()?;
                    self.push(Object::of_bytes(0))?;
                }
                b'J' => {
                    let [_, _, _, _] = self.bytes()?;
                    self.push(Object::of_bytes(0))?;
                }
                b'G' => {
                    let [_, _, _, _, _, _, _, _] = self.bytes()?;
                    self.push(Object::of_bytes(0))?;
                }
                // Long numbers and bytes behind their length.
                0x8a | b'C' => self.push_bytes(1)?,
                0x8b | b'B' => self.push_bytes(4)?,
                0x8e | 0x96 => self.push_bytes(8)?,
                // Texts behind their length.
                0x8c | b'U' => self.push_text(1)?,
                b'X' | b'T' => self.push_text(4)?,
                0x8d => self.push_text(8)?,

                b'(' => {
                    self.marks.push(self.stack.len());
                    self.charge(OBJECT_BYTES)?;
                }
                // Tuple, list, frozen set, dictionary of all above the mark.
                b't' | b'l' | 0x91 | b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push_container(Object::of_bytes(0), items)?;
                }
                0x85..=0x87 => {
                    let count = usize::from(opcode - 0x84);
                    let items = self.pop_several(count)?;
                    self.push_container(Object::of_bytes(0), items)?;
                }
                // Append one, set one item, and all above the mark.
                b'a' => self.extend(1)?,
                b's' => self.extend(2)?,
                b'e' | 0x90 | b'u' => {
                    let items = self.pop_to_mark()?;
                    let container = self.pop()?;
                    self.push_container(container, items)?;
                }

                b'0' => {
                    if self.mark_on_top() {
                        self.marks.pop();
                    } else {
                        self.pop()?;
                    }
                }
                b'1' => {
                    self.pop_to_mark()?;
                }
                b'2' => {
                    let top = self.top()?.clone();
                    self.push(top)?;
                }

                // References to the memo, and entries into it.
                b'g' => {
                    let at = self.index_on_line()?;
                    self.get(at)?;
                }
                b'h' => {
                    let [at] = self.bytes()?;
                    self.get(at.into())?;
                }
                b'j' => {
                    let at = u32::from_le_bytes(self.bytes()?);
                    self.get(at)?;
                }
                b'p' => {
                    let at = self.index_on_line()?;
                    self.put(at)?;
                }
                b'q' => {
                    let [at] = self.bytes()?;
                    self.put(at.into())?;
                }
                b'r' => {
                    let at = u32::from_le_bytes(self.bytes()?);
                    self.put(at)?;
                }
                0x94 => self.put(self.memo.len() as u32)?,

                // Names of functions and classes: on two lines, or as two texts.
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    let [module, name] =
                        [&module, &name].map(|text| String::from_utf8_lossy(text).into_owned());
                    self.name(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let short = |object: &Object| object.text.clone().unwrap_or("?".into());
                    self.name(&short(&module), &short(&name))?;
                }
                // Storages, by what the file calls them: on a line, or as an object.
                b'P' => {
                    let line = self.line()?;
                    self.push_storage(Object::of_bytes(line.len() as u64))?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push_storage(id)?;
                }
                // A call, a new object, a new object with names, the state of an object: a reader makes a
                // tensor or dictionary of them, or nothing.
                b'R' | 0x81 => {
                    let made = self.call(2)?;
                    self.stack.push(made);
                }
                0x92 => {
                    let made = self.call(3)?;
                    self.stack.push(made);
                }
                b'b' => {
                    let state = self.pop()?;
                    let memo = self.top()?.memo;
                    self.stack.push(state);
                    let made = self.call(2)?;
                    if let Some(at) = memo {
                        self.charge(made.bytes)?;
                        self.memo.insert(at, Object { memo, ..made.clone() });
                    }
                    self.stack.push(made);
                }

                other => {
                    let reason =
                        format!("byte {other:#04x} in its pickle is no part of a file of tensors");
                    return Err(Refused::Format { reason });
                }
            }
        }
        let root = self.pop()?;
        bound("the pickle", "tensors", root.tensors, MAX_TENSORS)?;
        let names = root.tensors.saturating_mul(root.name);
        bound("the names of its tensors", "characters", names, MAX_OBJECT_BYTES)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(cut)?;
        self.advance(N as u64)?;
        Ok(bytes)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), Refused> {
        self.read += bytes;
        bound("its pickle", "bytes or more", self.read, MAX_PICKLE_BYTES)
    }

    /// Bytes behind their length of `width` bytes.
    fn counted(&mut self, width: usize) -> Result<Vec<u8>, Refused> {
        let mut length = [0; 8];
        self.reader.read_exact(&mut length[..width]).map_err(cut)?;
        let length = u64::from_le_bytes(length);
        bound("a text or number in its pickle", "bytes", length, MAX_TEXT_BYTES)?;
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes).map_err(cut)?;
        self.advance(width as u64 + length)?;
        Ok(bytes)
    }

    /// A line without its end.
    fn line(&mut self) -> Result<Vec<u8>, Refused> {
        let mut line = Vec::new();
        loop {
            match self.bytes()? {
                [b'\n'] => break,
                [byte] => line.push(byte),
            }
            bound(
                "a text or number in its pickle",
                "bytes or more",
                line.len() as u64,
                MAX_TEXT_BYTES,
            )?;
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn index_on_line(&mut self) -> Result<u32, Refused> {
        let line = self.line()?;
        let number = std::str::from_utf8(&line).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| broken("a reference to the memo is no number"))
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Refused> {
        self.cost = self.cost.saturating_add(bytes);
        bound("what its pickle makes", "bytes", self.cost, MAX_OBJECT_BYTES)
    }

    fn push(&mut self, object: Object) -> Result<(), Refused> {
        bound("its pickle", "levels of nesting", object.nesting.into(), MAX_NESTING.into())?;
        self.charge(object.bytes)?;
        self.stack.push(object);
        Ok(())
    }

    /// A container with more in it. What it holds was paid for when it was made, but for a container that had to grow.
    fn push_container(
        &mut self,
        container: Object,
        items: impl IntoIterator<Item = Object>,
    ) -> Result<(), Refused> {
        let mut count = 1_u64;
        let object = container.with(items.into_iter().inspect(|_| count += 1));
        bound("its pickle", "levels of nesting", object.nesting.into(), MAX_NESTING.into())?;
        self.charge(count.saturating_mul(OBJECT_BYTES))?;
        self.stack.push(object);
        Ok(())
    }

    fn push_bytes(&mut self, width: usize) -> Result<(), Refused> {
        let bytes = self.counted(width)?;
        self.push(Object::of_bytes(bytes.len() as u64))
    }

    fn push_text(&mut self, width: usize) -> Result<(), Refused> {
        let bytes = self.counted(width)?;
        self.push(Object::of_text(&bytes))
    }

    fn push_storage(&mut self, id: Object) -> Result<(), Refused> {
        let storage = Object { bytes: id.bytes, tensors: 1, ..Object::default() };
        self.push_container(storage, [])
    }

    /// What comes of a function or object and its arguments: no deeper and no larger than all of them.
    fn call(&mut self, count: usize) -> Result<Object, Refused> {
        let parts = self.pop_several(count)?;
        let nesting = parts.iter().map(|part| part.nesting).max().unwrap_or(0);
        self.charge(OBJECT_BYTES)?;
        Ok(Object { nesting, ..Object::of_bytes(0).with(parts) })
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), Refused> {
        let of_torch = module == "torch"
            && (ALLOWED_OF_TORCH.contains(&name)
                || name.strip_suffix("Storage").is_some_and(|kind| STORAGES.contains(&kind)));
        let listed = ALLOWED.iter().any(|(of, names)| *of == module && names.contains(&name));
        if !(of_torch || listed) {
            let mut name = format!("{module}.{name}");
            if name.len() > MAX_GLOBAL_BYTES {
                name = name.chars().take(MAX_GLOBAL_BYTES).chain(['…']).collect();
            }
            // It goes to a terminal.
            let name = name.escape_debug().to_string();
            return Err(Refused::Global { name });
        }
        self.push(Object::of_bytes((module.len() + name.len()) as u64))
    }

    fn mark_on_top(&self) -> bool {
        self.marks.last() == Some(&self.stack.len())
    }

    fn top(&self) -> Result<&Object, Refused> {
        match self.stack.last() {
            Some(top) if !self.mark_on_top() => Ok(top),
            _ => Err(broken("a value is missing")),
        }
    }

    fn pop(&mut self) -> Result<Object, Refused> {
        self.top()?;
        self.stack.pop().ok_or_else(|| broken("a value is missing"))
    }

    fn pop_several(&mut self, count: usize) -> Result<Vec<Object>, Refused> {
        (0..count).map(|_| self.pop()).collect()
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Object>, Refused> {
        let mark = self.marks.pop().ok_or_else(|| broken("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, count: usize) -> Result<(), Refused> {
        let items = self.pop_several(count)?;
        let container = self.pop()?;
        self.push_container(container, items)
    }

    fn get(&mut self, at: u32) -> Result<(), Refused> {
        let object = self.memo.get(&at).ok_or_else(|| broken("a reference leads nowhere"))?;
        self.push(object.clone())
    }

    /// A reader keeps a copy of its own.
    fn put(&mut self, at: u32) -> Result<(), Refused> {
        let mut object = self.top()?.clone();
        self.charge(object.bytes)?;
        object.memo = Some(at);
        if let Some(top) = self.stack.last_mut() {
            top.memo = Some(at);
        }
        self.memo.insert(at, object);
        Ok(())
    }
}

fn broken(what: &str) -> Refused {
    Refused::Format { reason: format!("its pickle is damaged: {what}") }
}
