export class Picture {
  show() {}
  resize() {}
}
