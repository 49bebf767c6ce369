// Everything by keyboard; `?` shows which key does what.

/** `keys` are [keys, description, action]. They are ignored while a user types or a dialog is open. */
export function bindKeys(keys) {
  const list = document.getElementById("keys");
  const dialog = document.getElementById("help-dialog");
  const help = () => dialog.showModal();
  const all = [...keys, [["?"], "Show these keys", help]];
  for (const [names, what] of all) {
    const term = document.createElement("dt");
    names.forEach((name, place) => {
      const key = document.createElement("kbd");
      key.textContent = name === " " ? "Space" : name;
      term.append(place ? " or " : "", key);
    });
    const text = document.createElement("dd");
    text.textContent = what;
    list.append(term, text);
  }
  document.getElementById("help").addEventListener("click", help);
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const isUndo = (event.ctrlKey || event.metaKey) && event.key === "z";
    const isTyping = event.target.closest("input, textarea, select");
    if (isTyping || ((event.ctrlKey || event.metaKey || event.altKey) && !isUndo)) return;
    const isPressed = event.target.closest("button, video") && [" ", "Enter"].includes(event.key);
    const found = all.find(([names]) => names.includes(isUndo ? "u" : event.key));
    if (!found || isPressed) return;
    event.preventDefault();
    found[2]();
  });
}
