// Buttons that copy a field's text, such as `<button data-copy="title">`.

const SHOWN_MILLISECONDS = 2000;

export function bindCopying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const label = button.firstChild;
    const text = label.textContent;
    button.addEventListener("click", async () => {
      const input = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(input.value);
        label.textContent = "Copied";
        setTimeout(() => (label.textContent = text), SHOWN_MILLISECONDS);
      } catch {
        // Without the permission, the person copies the selected text.
        input.select();
      }
    });
  }
}
