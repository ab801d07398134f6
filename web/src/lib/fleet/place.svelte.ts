/** Where somebody was in the fleet, for when they come back from a device. */
class Place {
  /** The key of the selected line. */
  selected = $state<string>();
  scrollTop = 0;
}

export const place = new Place();
