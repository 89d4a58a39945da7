"use strict";
// Shows a button beside each command that copies it. Without this script, a click on a command selects all of it.
const announced = document.getElementById("copied"); // read aloud by screen readers
for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const command = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
      announced.textContent = "The command was copied.";
    } catch { // the browser does not allow it
      getSelection().selectAllChildren(command);
      button.textContent = "Selected";
      announced.textContent = "The command could not be copied. It is selected, so the usual keys copy it.";
    }
    setTimeout(() => {
      button.textContent = "Copy";
      announced.textContent = "";
    }, 2000);
  });
}
