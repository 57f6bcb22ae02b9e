// Adds what happens now to the list. Without this script the list shows what happened before.
const list = document.getElementById("feed");
const longest = 12;
let delay = 1000;

function connect() {
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/feed`);
  socket.addEventListener("open", () => { delay = 1000; });
  socket.addEventListener("message", (message) => {
    const event = JSON.parse(message.data);
    if (list.querySelector(`[data-id="${event.id}"]`)) return;
    const item = document.createElement("li");
    item.dataset.id = event.id;
    item.textContent = event.text;
    list.prepend(item);
    while (list.children.length > longest) list.lastElementChild.remove();
  });
  // Not all at once when a worker restarts, and less and less often while there is none.
  socket.addEventListener("close", () => {
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(delay * 2, 60000);
  });
}

connect();
