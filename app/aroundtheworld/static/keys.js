// The keys 1 to 4 press the buttons of a question. Without this script the buttons still work.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  document.querySelectorAll(".choices button")[Number(event.key) - 1]?.click();
});
