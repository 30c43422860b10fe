// SPDX-License-Identifier: Apache-2.0
package kiruna;

import java.math.BigDecimal;
import java.time.LocalDate;
import java.util.List;

/** An object that travels as JSON. */
public class Parcel {
    public String owner;
    public BigDecimal price;
    public List<String> contents;
    public LocalDate due;

    public Parcel() {}

    Parcel(String owner, String price, List<String> contents) {
        this.owner = owner;
        this.price = new BigDecimal(price);
        this.contents = contents;
        this.due = LocalDate.of(2026, 2, 28);
    }

    /** Something with a type of its own inside. */
    public static class Wrapped<T> {
        public T inside;
        public int times;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Parcel && other.toString().equals(toString());
    }

    @Override
    public int hashCode() {
        return toString().hashCode();
    }

    @Override
    public String toString() {
        return owner + " " + price + " " + contents + " " + due;
    }
}
