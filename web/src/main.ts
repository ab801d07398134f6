import { mount } from "svelte";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/table.css";
import "./styles/figures.css";
import "./styles/view.css";
import "./styles/fleet.css";
import App from "./App.svelte";

const target = document.getElementById("app");
if (target) mount(App, { target });
